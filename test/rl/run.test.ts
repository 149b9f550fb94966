import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { grpoConfigOf } from '../../src/cli/flags/grpo.js';
import { addon } from '../../src/native.js';
import { type GrpoInput, resolveGrpo } from '../../src/rl/config.js';
import type { GrpoEvent } from '../../src/rl/events.js';
import { openJudged } from '../../src/rl/open.js';
import { grpo, type Judged } from '../../src/rl/run.js';
import { device, memoryOf } from '../../src/tensor/index.js';
import type { Tokenizer } from '../../src/tokenizer/index.js';
import { compiledRewards } from './compiled.js';
import { writeTinyModel } from './tiny.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-grpo-'));
const modelPath = join(folder, 'model');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

beforeAll(() => writeTinyModel(modelPath));

const settings = (out: string, more: Partial<GrpoInput> = {}) =>
  resolveGrpo({
    model: modelPath,
    out: join(folder, out),
    device: 'cpu',
    steps: 4,
    prompts: 2,
    group: 4,
    maxTokens: 6,
    lr: 1e-2,
    updates: 2,
    kl: 0.01,
    resetReference: 3,
    evaluateQuestions: 2,
    evaluateSamples: 2,
    saveEvery: 2,
    tensorboard: false,
    ...more,
  });

/** The share of letters "e", graded in this process. */
async function letters(_: unknown, tokenizer: Tokenizer): Promise<Judged> {
  const ask = (index: number) => ({ index, prompt: `${index}`, ids: [...tokenizer.encode(`${index}`)], answer: 'e' });
  return {
    source: { name: 'letters', train: ask, test: (i) => (i < 3 ? ask(1000 + i) : undefined) },
    grader: {
      rewards: [{ name: 'low', weight: 1 }],
      grade: async (samples) => samples.map(({ ids }) => [{ value: ids.filter((id) => id < 100).length / ids.length }]),
    },
  };
}

const stateOf = (checkpoint: string) =>
  ['model.safetensors', 'trainer/grpo.safetensors', 'trainer/grpo.json'].map((f) => readFileSync(join(checkpoint, f)));
const lines = (path: string) =>
  readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((l) => JSON.parse(l));

describe('a GRPO run', () => {
  it('that does not fit says which of its settings would', async () => {
    const cpu = device('cpu');
    const run = (out: string, more: Partial<GrpoInput> = {}) =>
      grpo(settings(out, { steps: 1, prompts: 16, group: 8, maxPrompt: 16, maxTokens: 48, ...more }), letters);
    addon.trimMemory(cpu.index);
    const start = memoryOf(cpu, true).live;
    await run('roomy');
    const whole = memoryOf(cpu).peak - start;
    addon.trimMemory(cpu.index);
    addon.limitMemory(cpu.index, start + Math.round(0.7 * whole));
    try {
      const error = await run('short').then(
        () => undefined,
        (e: Error) => e,
      );
      expect(error).toMatchObject({ code: 'out-of-memory' });
      expect(error!.message).toMatch(/held now: .* these would fit: --rows-at-once \d+ \(about /);
      addon.trimMemory(cpu.index);
      await run('fits', { rowsAtOnce: Number(/--rows-at-once (\d+)/.exec(error!.message)![1]) });
    } finally {
      addon.limitMemory(cpu.index, 0);
    }
  });

  it('records figures, completions and evaluations, and leaves a folder that a run can start from', async () => {
    const events: GrpoEvent[] = [];
    const config = settings('whole-story');
    const end = await grpo(config, letters, { onEvent: (e) => events.push(e) });
    expect([end.step, end.stopped]).toEqual([4, false]);
    expect(end.before!.passAt.map(([k]) => k)).toEqual([1, 2]);
    expect(end.after!.questions).toBe(2);
    const metrics = lines(join(config.out, 'metrics.jsonl')).filter((l) => 'reward/mean' in l);
    expect(metrics.map((l) => l.step)).toEqual([1, 2, 3, 4]);
    for (const name of ['reward/low/mean', 'rollout/logprob_abs_diff', 'policy/entropy', 'speed/rollout_seconds'])
      expect(Number.isFinite(metrics[0][name]), name).toBe(true);
    for (const phase of ['rollout', 'reward', 'train'])
      expect(metrics[0][`speed/${phase}_tokens_per_second`], phase).toBeGreaterThan(0);
    expect(metrics[0]['rollout/logprob_abs_diff_max']).toBe(0);
    const completions = lines(join(config.out, 'completions', 'step-00000002.jsonl'));
    expect(completions).toHaveLength(8);
    const mean = completions.reduce((sum, c) => sum + c.reward, 0) / 8;
    expect(mean).toBeCloseTo(metrics[1]['reward/mean'], 12);
    expect(new Set(events.map((e) => e.kind))).toEqual(
      new Set(['start', 'phase', 'step', 'evaluation', 'saved', 'end']),
    );
    const notes: string[] = [];
    const more = settings('whole-story', { steps: 5, evaluateEvery: 3, rowsAtOnce: 64 });
    await grpo(more, letters, { onEvent: (e) => e.kind === 'note' && notes.push(e.sentence) });
    expect(notes).toEqual([
      expect.stringMatching(/^Going on from step 4 \(.*\)\. It was begun with --steps 4 \(now 5\)\.$/),
    ]);
    await expect(grpo(settings('whole-story', { group: 2, clipHigh: 0.3 }), letters)).rejects.toThrow(
      `The run in ${config.out} was begun with --group 4 (now 2), --clip-high 0.2 (now 0.3), which decide what it becomes`,
    );
    const copied = join(folder, 'copied-model');
    cpSync(modelPath, copied, { recursive: true });
    expect((await grpo(settings('whole-story', { steps: 5, model: copied }), letters)).step).toBe(5);
    await writeTinyModel(copied, 4);
    await expect(grpo(settings('whole-story', { model: copied }), letters)).rejects.toThrow(
      'begun with another model:',
    );
    const next = await grpo(settings('next', { model: config.out, steps: 1 }), letters);
    expect(next.step).toBe(1);
  });

  it('goes on after a stop, to the same bits as without one', async () => {
    const whole = await grpo(settings('whole'), letters);
    let steps = 0;
    const first = await grpo(settings('stopped'), letters, { shouldStop: () => ++steps === 3 });
    expect([first.step, first.stopped]).toEqual([3, true]);
    const last = await grpo(settings('stopped'), letters);
    expect(last.rewards.map(([step]) => step)).toEqual([4]);
    expect(stateOf(last.checkpoint!)).toEqual(stateOf(whole.checkpoint!));
  });

  it('gives signs of life while graders take their time', async () => {
    const events: GrpoEvent[] = [];
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      const slow: typeof letters = async (config, tokenizer) => {
        const judged = await letters(config, tokenizer);
        const grade: Judged['grader']['grade'] = async (...given) => {
          vi.advanceTimersByTime(11_000);
          return judged.grader.grade(...given);
        };
        return { ...judged, grader: { ...judged.grader, grade } };
      };
      await grpo(settings('slow', { steps: 1, evaluateQuestions: 0 }), slow, { onEvent: (e) => events.push(e) });
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
    const again = events.filter((e) => e.kind === 'phase' && e.seconds !== undefined);
    expect(again.map((e) => e.kind === 'phase' && e.phase)).toEqual(['reward', 'reward']);
  });

  it('runs a built-in task with its rewards in graders', async () => {
    const config = settings('arith', { task: 'arith', steps: 1, prompts: 1, evaluateQuestions: 0, graderWorkers: 1 });
    const compiled = await compiledRewards(); // graders are processes, which run compiled files
    const end = await grpo(config, (c, tokenizer) => openJudged(c, tokenizer, {}, compiled.openGraders));
    compiled.remove();
    expect(end.step).toBe(1);
    expect(lines(join(config.out, 'metrics.jsonl'))[0]['reward/skipped']).toBe(0);
  });
});

describe('settings of GRPO', () => {
  it('reads flags, and lets them override an algorithm', () => {
    const config = grpoConfigOf({
      algorithm: 'dapo',
      model: 'm',
      steps: '3',
      clipHigh: '0.3',
      taskOptions: '{"digits":2}',
    });
    expect(config).toMatchObject({ steps: 3, clipHigh: 0.3, kl: 0, aggregation: 'token', taskOptions: { digits: 2 } });
  });

  it('names what is wrong', () => {
    expect(() => grpoConfigOf({ algorithm: 'grpo', model: 'm', steps: 'many' })).toThrow(/steps/);
    // @ts-expect-error what the compiler says too
    expect(() => resolveGrpo({ model: 'm' }, 'ppo')).toThrow(/"ppo" is unknown; there are grpo, r1-zero, dapo/);
    // @ts-expect-error what the compiler says too
    expect(() => resolveGrpo({ model: 'm', stps: 3 })).toThrow(/have a fault: stps: .*; did you mean steps\?$/);
    // @ts-expect-error what the compiler says too
    expect(() => resolveGrpo({ lr: -1 })).toThrow(
      /The settings of GRPO have 2 faults:\n {2}- model: it is missing; give the model to start from: .*\n {2}- lr = -1: too small/,
    );
    expect(() => resolveGrpo({ model: 'm', prompts: 1, group: 2, updates: 3 })).toThrow(/2 completions only/);
  });
});
