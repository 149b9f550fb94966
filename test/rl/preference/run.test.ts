import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TrainMoeError } from '../../../src/errors.js';
import { parametersOf } from '../../../src/models/codec.js';
import { loadModel } from '../../../src/models/folder.js';
import { loadScoring } from '../../../src/models/scoring.js';
import { addon } from '../../../src/native.js';
import {
  type DpoInput,
  type RewardModelInput,
  resolvePreference,
  rewardModelSchema,
} from '../../../src/rl/preference/config.js';
import {
  type PreferenceEvent,
  type PreferenceHooks,
  trainDpo,
  trainRewardModel,
} from '../../../src/rl/preference/index.js';
import { device, memoryOf } from '../../../src/tensor/index.js';
import { notingReads } from '../waits.js';
import { plantedPairs, tinyFolder, writeLines } from './tiny.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-preference-'));
const model = join(folder, 'model');
const data = [join(folder, 'planted.jsonl')];
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeAll(async () => {
  await tinyFolder(model);
  writeLines(data[0]!, plantedPairs(400));
});

const common = { model, data, device: 'cpu', tensorboard: false } as const;

const rewardModel = (out: string, more: Partial<RewardModelInput> = {}, hooks: PreferenceHooks = {}) =>
  trainRewardModel({ ...common, out: join(folder, out), batch: 16, lr: 1e-2, heldOut: 0.3, ...more }, hooks);

const dpo = (out: string, more: Partial<DpoInput> = {}, hooks: PreferenceHooks = {}) =>
  trainDpo({ ...common, out: join(folder, out), batch: 16, lr: 1e-3, epochs: 0.5, heldOut: 0.1, ...more }, hooks);

/** How many pairs a run of DPO with the longest texts allowed takes. */
async function trainDpoFacts(more: Partial<DpoInput>) {
  let counts = {};
  await dpo('beyond', more, {
    onEvent: (e) => {
      if (e.kind === 'start') counts = { train: e.run.train, tooLong: e.run.tooLong };
    },
  });
  return { counts };
}

const metricsOf = (out: string) =>
  readFileSync(join(folder, out, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

const stateOf = (checkpoint: string, name: string) =>
  ['model.safetensors', `trainer/${name}.safetensors`, `trainer/${name}.json`, 'tokenizer.json', 'config.json'].map(
    (f) => readFileSync(join(checkpoint, f)),
  );

describe('a reward model', () => {
  it('learns a planted preference', async () => {
    const events: PreferenceEvent[] = [];
    const end = await rewardModel('planted', { epochs: 6 }, { onEvent: (e) => events.push(e) });
    expect(end.before).toMatchObject({ accuracy: 0.5, margin: 0 }); // all scores are 0: ties
    expect(end.before!.loss).toBeCloseTo(Math.LN2, 6);
    expect(end.after!.count).toBeGreaterThan(80);
    expect(end.after!.accuracy).toBeGreaterThan(0.9);
    expect(end.after!.interval[0]).toBeGreaterThan(0.8);
    expect(end.after!.margin).toBeGreaterThan(1);
    expect(new Set(events.map((e) => e.kind))).toEqual(
      new Set(['start', 'phase', 'evaluation', 'step', 'saved', 'end']),
    );
    const [first, last] = [metricsOf('planted')[1], metricsOf('planted').at(-1)];
    expect(first['train/loss']).toBeCloseTo(Math.LN2, 6);
    expect(last['test/accuracy']).toBe(end.after!.accuracy);
    const scorer = loadScoring(end.checkpoint!, { device: device('cpu') });
    expect(scorer.kind).toBe('pairwise');
    expect(() => loadModel(end.checkpoint!, { device: device('cpu') })).toThrow(/reward model/);
    for (const { tensor } of parametersOf(scorer)) tensor.dispose();
  });

  it('tells safe from unsafe, one answer at a time', async () => {
    const end = await rewardModel('safety', { kind: 'safety', epochs: 6, batch: 32 });
    expect(end.before).toMatchObject({ accuracy: 0.5, baseline: 0.5 });
    expect(end.after!.accuracy).toBeGreaterThan(0.9);
  });

  it.each([
    ['pairwise', { kind: 'pairwise' }, rewardModel],
    ['pointwise', { kind: 'safety' }, rewardModel],
    ['DPO', {}, dpo],
  ] as const)('waits for the device only when all of a step is on its way (%s)', async (name, more, train) => {
    const events: string[] = [];
    const small = { rowsAtOnce: 40, epochs: 0.2, heldOut: 0.1, evaluateEvery: 0, saveEvery: 0, ...more };
    const onEvent = ({ kind }: PreferenceEvent) => events.push(`|${kind}`);
    await notingReads(events, () => train(`waits-${name}`, small as object, { onEvent }));
    const steps = events
      .join(' ')
      .split('|')
      .filter((part) => part.startsWith('step'))
      .slice(0, -1);
    expect(steps.length).toBeGreaterThan(1);
    for (const step of steps) expect(`${step.trim()} `).toMatch(/^step (beginRead ){4,}(endRead ){4,}$/);
  });

  it.each([
    ['pairs', rewardModel, {}],
    ['answers', rewardModel, { kind: 'safety' }],
    ['DPO', dpo, {}],
  ] as const)('says which settings would fit, and they do (%s)', async (name, train, more) => {
    const cpu = device('cpu');
    const step = (which: string, rowsAtOnce: number) =>
      train(`memory-${name}-${which}`, {
        batch: 256,
        maxPairs: 256,
        epochs: 1,
        evaluatePairs: 0,
        ...more,
        rowsAtOnce,
      } as object);
    await step('warm', 100_000);
    addon.trimMemory(cpu.index);
    const start = memoryOf(cpu, true).live;
    await step('all', 100_000);
    const whole = memoryOf(cpu).peak - start;
    addon.trimMemory(cpu.index);
    addon.limitMemory(cpu.index, start + Math.round(0.6 * whole));
    try {
      const error = await step('short', 100_000).catch((e: TrainMoeError) => e);
      expect(error).toMatchObject({ code: 'out-of-memory' });
      const advised = /of activations; held now: .* these would fit: --rows-at-once (\d+) \(about /;
      expect((error as TrainMoeError).message).toMatch(advised);
      addon.trimMemory(cpu.index);
      await step('fits', Number(advised.exec((error as TrainMoeError).message)![1]));
    } finally {
      addon.limitMemory(cpu.index, 0);
    }
  });

  it('goes on after a stop, to the same bits as without one', async () => {
    const settings = { epochs: 0.5, evaluateEvery: 4, saveEvery: 3, schedule: 'linear', warmup: 2 } as const;
    const whole = await rewardModel('whole', settings);
    let steps = 0;
    const first = await rewardModel('stopped', settings, { shouldStop: () => ++steps === 5 });
    expect([first.step, first.stopped]).toEqual([5, true]);
    const last = await rewardModel('stopped', settings);
    expect([last.step, last.losses[0]![0]]).toEqual([whole.step, 6]);
    expect(stateOf(last.checkpoint!, 'reward_model')).toEqual(stateOf(whole.checkpoint!, 'reward_model'));
    const withoutTimes = (out: string) =>
      metricsOf(out).map((m) => Object.entries(m).filter(([name]) => !name.startsWith('speed/')));
    expect(withoutTimes('stopped')).toEqual(withoutTimes('whole'));
  });

  it('goes on for more epochs behind its last example, though its last batch was small', async () => {
    const settings = { evaluatePairs: 0, batch: 64, maxPairs: 40, heldOut: 0 };
    expect((await rewardModel('further', settings)).step).toBe(1);
    expect((await rewardModel('further', { ...settings, epochs: 3 })).step).toBe(3);
    expect(metricsOf('further').map((m) => m['train/epoch'])).toEqual([1, 2.6, 3]); // 40, 64 and 16 pairs
  });

  it('gives the same update however it is cut into passes', async () => {
    const steps = { epochs: 0.2, evaluatePairs: 0, center: 0.01 };
    await rewardModel('at-once', steps);
    await rewardModel('in-parts', { ...steps, rowsAtOnce: 40 });
    const losses = (out: string) => metricsOf(out).map((m) => m['train/loss']);
    losses('in-parts').forEach((loss, i) => void expect(loss).toBeCloseTo(losses('at-once')[i], 5));
  });

  it('does not go on with other data, nor from a checkpoint of another kind', async () => {
    const steps = { epochs: 0.1, evaluatePairs: 0 };
    await rewardModel('other', steps);
    const changed = writeLines(join(folder, 'changed.jsonl'), plantedPairs(390));
    await expect(rewardModel('other', { ...steps, data: [changed] })).rejects.toThrow(
      'was begun with another data set: give the same to go on',
    );
    const otherOrder = rewardModel('other', { ...steps, seed: 9 });
    await expect(otherOrder).rejects.toThrow('was begun with --seed 1 (now 9), which decides what it becomes');
    await expect(dpo('other')).rejects.toThrow(/is no checkpoint of DPO/);
  });

  it('leaves out what is too long, and says when nothing is left', async () => {
    const events: PreferenceEvent[] = [];
    const long = { prompt: 'q', chosen: 'z'.repeat(200), rejected: 'a' };
    const path = writeLines(join(folder, 'long.jsonl'), [long, ...plantedPairs(20)]);
    const settings = { data: [path], heldOut: 0, maxLength: 30 };
    const end = await rewardModel('long', settings, { onEvent: (e) => events.push(e) });
    expect(events.find((e) => e.kind === 'start')).toMatchObject({ run: { train: 20, test: 0, tooLong: 1 } });
    expect([end.before, end.after]).toEqual([undefined, undefined]);
    const beyond = { prompt: 'q', chosen: 'z'.repeat(3000), rejected: 'a' }; // the model reads 2048 positions
    const mixed = writeLines(join(folder, 'beyond.jsonl'), [beyond, ...plantedPairs(20)]);
    const { counts } = await trainDpoFacts({ data: [mixed], heldOut: 0 });
    expect(counts).toEqual({ train: 20, tooLong: 1 });
    await expect(rewardModel('short', { ...settings, maxLength: 3 })).rejects.toThrow(/longer than maxLength = 3/);
  });
});

describe('DPO', () => {
  it('raises the margin of held-out pairs, from 0', async () => {
    const end = await dpo('dpo');
    expect(end.before).toMatchObject({ margin: 0, accuracy: 0.5 });
    expect(end.before!.loss).toBeCloseTo(Math.LN2, 6);
    expect(end.after!.margin).toBeGreaterThan(0.01);
    expect(end.after!.accuracy).toBeGreaterThan(0.6);
    const [first] = metricsOf('dpo').filter((m) => 'train/loss' in m);
    expect(first['rewards/margin']).toBe(0); // the policy is still the reference
    expect(first['logps/chosen']).toBeLessThan(0);
    const policy = loadModel(end.checkpoint!, { device: device('cpu') });
    for (const { tensor } of parametersOf(policy)) tensor.dispose();
  });

  it.each([
    ['ipo', { loss: 'ipo', average: true }],
    ['hinge', { loss: 'hinge', beta: 0.5 }],
    ['no reference', { reference: 'none' }],
  ] as const)('%s: the loss falls', async (name, settings) => {
    const end = await dpo(`dpo-${name}`, { ...settings, evaluatePairs: 0 });
    const mean = (part: typeof end.losses) => part.reduce((sum, [, loss]) => sum + loss, 0) / part.length;
    expect(mean(end.losses.slice(-4))).toBeLessThan(mean(end.losses.slice(0, 4)));
  });

  it('goes on after a stop, to the same bits as without one', async () => {
    const settings = { evaluateEvery: 4, saveEvery: 3, smoothing: 0.1 };
    const whole = await dpo('dpo-whole', settings);
    let steps = 0;
    await dpo('dpo-stopped', settings, { shouldStop: () => ++steps === 5 });
    const last = await dpo('dpo-stopped', settings);
    expect(stateOf(last.checkpoint!, 'dpo')).toEqual(stateOf(whole.checkpoint!, 'dpo'));
    expect(last.after).toEqual(whole.after);
  });
});

describe('settings', () => {
  it('name what is wrong', () => {
    const resolve = (input: object) => resolvePreference(rewardModelSchema, { model: 'm', data: ['d'], ...input });
    expect(() => resolve({ lr: 'fast' })).toThrow(TrainMoeError);
    expect(() => resolve({ lr: 'fast' })).toThrow(/lr/);
    expect(() => resolve({ bacth: 3 })).toThrow(/have a fault: bacth: there is no such setting; did you mean batch\?$/);
    expect(resolve({})).toMatchObject({ lr: 6e-6, batch: 256, epochs: 1, maxLength: 8192 });
  });
});
