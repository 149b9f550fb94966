import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { folderSink } from '../../../src/hub/byte_sink.js';
import { writeModelFolder } from '../../../src/hub/folder.js';
import { parametersOf } from '../../../src/models/codec.js';
import { modelContent } from '../../../src/models/folder.js';
import { loadScoring, type ScoreKind } from '../../../src/models/scoring.js';
import { moments } from '../../../src/rl/advantage.js';
import { type GrpoInput, resolveGrpo } from '../../../src/rl/config.js';
import { openJudges } from '../../../src/rl/judges.js';
import { openJudged } from '../../../src/rl/open.js';
import { trainRewardModel } from '../../../src/rl/preference/index.js';
import { answerPart, modelRewardOf } from '../../../src/rl/preference/reward_spec.js';
import { NOTHING_SEEN, seen, standardized } from '../../../src/rl/preference/running.js';
import type { openGraders, RewardResult, Sample } from '../../../src/rl/rewards/index.js';
import { grpo } from '../../../src/rl/run.js';
import { device } from '../../../src/tensor/index.js';
import { plantedPairs, tinyFolder, writeLines } from './tiny.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-model-reward-'));
const policy = join(folder, 'policy');
const helpful = join(folder, 'helpful');
const safe = join(folder, 'safe');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A reward model whose row is drawn, so that it likes some texts better than others. */
function rewardModel(path: string, kind: ScoreKind): void {
  const model = loadScoring(policy, { device: device('cpu'), kind });
  const head = model.family.head(model.weights).weight;
  head.write(Float32Array.from({ length: head.size }, (_, i) => 3 * Math.sin(i + 1)));
  writeModelFolder(folderSink(path), modelContent(model, { dtype: 'f32', base: model.hubConfig }));
  writeFileSync(join(path, 'tokenizer.json'), readFileSync(join(policy, 'tokenizer.json')));
  for (const { tensor } of parametersOf(model)) tensor.dispose();
}

beforeAll(async () => {
  await tinyFolder(policy);
  rewardModel(helpful, 'pairwise');
  rewardModel(safe, 'pointwise');
});

describe('model:DIR', () => {
  it('is read with its settings', () => {
    expect(modelRewardOf({ name: 'math' })).toBeUndefined();
    expect(modelRewardOf({ name: 'model:runs/good' })).toEqual({ name: 'model:good', path: 'runs/good' });
    expect(modelRewardOf({ name: 'model:a,b/c,part=all,scale=none' })).toEqual({
      name: 'model:c',
      path: 'a,b/c',
      part: 'all',
      scale: 'none',
    });
    expect(modelRewardOf({ name: 'model:d', options: { scale: 'sigmoid' } })).toMatchObject({ scale: 'sigmoid' });
  });

  it.each([
    ['model:', /names no folder/],
    ['model:d,part=some', /part=some; part is answer, all/],
    ['model:d,size=3', /size=3; known are part, scale and as/],
  ])('%s is refused', (name, message) => void expect(() => modelRewardOf({ name })).toThrow(message));

  it.each([
    ['', '<think>a</think> <answer>b</answer>', 'b'],
    ['', '<think>a</think>\n\nThe answer is b.', 'The answer is b.'],
    ['', '<think>a </think> b </think> c', 'c'],
    ['', '<think>never ends', ''],
    ['Q <think>', 'never ends', ''],
    ['Q <think>', 'a</think>b', 'b'],
    ['Q', ' plain ', 'plain'],
  ])('of %j + %j reads %j', (prompt, completion, read) => void expect(answerPart(prompt, completion)).toBe(read));
});

describe('running scale', () => {
  it('is mean and deviation of all that was seen, in any portions', () => {
    const values = [3, -1, 4, 1, -5, 9];
    const { mean, std } = moments(values);
    const running = seen(seen(NOTHING_SEEN, values.slice(0, 2)), values.slice(2));
    expect(running.mean).toBeCloseTo(mean, 12);
    expect(standardized(running, 7)).toBeCloseTo((7 - mean) / std, 12);
    expect(standardized(seen(NOTHING_SEEN, [2, 2, 2]), 2)).toBe(0);
    expect(standardized(NOTHING_SEEN, 2)).toBe(2);
  });
});

describe('a reward model among rewards', () => {
  const settings = { graderWorkers: 1, graderTimeout: 1, device: 'cpu' } as const;
  const samples: Sample[] = ['<think>x</think> one', '<think>y</think> two', 'three'].map((completion) => ({
    prompt: 'Q',
    completion,
  }));
  /** Rules that say the length, in place of processes. */
  const rules = (async (specs: readonly unknown[]) => ({
    grade: async (all: readonly Sample[]) =>
      all.map(({ completion }) => specs.map((): RewardResult => ({ value: completion.length }))),
    close: () => {},
  })) as unknown as typeof openGraders;
  const valuesOf = (results: readonly (readonly RewardResult[])[], at: number) =>
    results.map((r) => (r[at] as { value: number }).value);

  it('keeps the order of the settings, and scales what it learns from', async () => {
    const specs = [{ name: `model:${helpful}` }, { name: 'length' }, { name: `model:${safe}` }];
    const judges = await openJudges(specs, settings, rules);
    expect(judges.names).toEqual(['model:helpful', 'length', 'model:safe']);
    const results = await judges.grade(samples, { observe: true });
    expect(valuesOf(results, 1)).toEqual(samples.map(({ completion }) => completion.length));
    expect(moments(valuesOf(results, 0)).mean).toBeCloseTo(0, 10);
    expect(moments(valuesOf(results, 0)).std).toBeCloseTo(1, 10);
    for (const value of valuesOf(results, 2)) expect(value > 0 && value < 1).toBe(true);
    const state = JSON.parse(JSON.stringify(judges.state()));
    expect(await judges.grade(samples, { observe: false })).toEqual(results);
    expect(judges.state()).toEqual(state);
    await judges.grade(samples.slice(1), { observe: true });
    judges.restore(state);
    expect(await judges.grade(samples, { observe: false })).toEqual(results);
    judges.close();
  });

  it('reads only the answer, or everything', async () => {
    const specs = ['answer', 'all'].map((part) => ({ name: `model:${helpful},scale=none,part=${part}` }));
    const judges = await openJudges(specs, settings);
    const [thought, plain] = await judges.grade([samples[0]!, { prompt: 'Q', completion: 'one' }], { observe: true });
    expect(thought![0]).toEqual(plain![0]);
    expect(thought![1]).not.toEqual(plain![1]);
    const [asked] = await judges.grade([{ prompt: 'template Q', completion: 'one', meta: { asked: 'Q' } }], {
      observe: true,
    });
    expect(asked).toEqual(plain);
    judges.close();
  });

  it('reads turns, or a text that goes on', async () => {
    const judges = await openJudges([{ name: `model:${helpful},scale=none,as=text` }], settings);
    const [whole, cut, other] = await judges.grade(
      [
        { prompt: 'Question: ', completion: 'one', meta: { asked: 'Q' } },
        { prompt: 'Quest', completion: 'ion: one' },
        { prompt: 'Q', completion: 'one' },
      ],
      { observe: true },
    );
    expect(cut).toEqual(whole);
    expect(other).not.toEqual(whole);
    judges.close();
  });

  it('skips what is longer than it can read', async () => {
    const judges = await openJudges([{ name: `model:${helpful}` }], settings);
    const [result] = await judges.grade([{ prompt: 'Q', completion: 'x'.repeat(3000) }], { observe: true });
    expect(result![0]).toMatchObject({ skip: true, reason: expect.stringMatching(/more than the 2048 that/) });
    judges.close();
  });

  it('tells rewards of one name apart', async () => {
    const specs = ['answer', 'all'].map((part) => ({ name: `model:${safe},part=${part}` }));
    const judges = await openJudges(specs, settings);
    expect(judges.names).toEqual(['model:safe', 'model:safe#2']);
    judges.close();
  });

  it('says what is missing', async () => {
    await expect(openJudges([{ name: 'model:/nowhere/at/all' }], settings)).rejects.toThrow(/nowhere/);
  });
});

describe('GRPO with a reward model', () => {
  it('teaches a policy what the reward model was taught', async () => {
    const data = [writeLines(join(folder, 'planted.jsonl'), plantedPairs(300))];
    const taught = await trainRewardModel({
      model: policy,
      data,
      out: join(folder, 'planted'),
      device: 'cpu',
      batch: 16,
      lr: 1e-2,
      epochs: 4,
      tensorboard: false,
    });
    expect(taught.after!.accuracy).toBeGreaterThan(0.9);
    const config = resolveGrpo({
      model: policy,
      out: join(folder, 'taught'),
      device: 'cpu',
      task: 'arith',
      reward: [`model:${join(folder, 'planted')},as=text,scale=none`],
      steps: 24,
      prompts: 4,
      group: 16,
      maxTokens: 6,
      lr: 1e-2,
      kl: 0,
      evaluateQuestions: 0,
      tensorboard: false,
    });
    const { rewards } = await grpo(config, (c, tokenizer) => openJudged(c, tokenizer));
    const mean = (part: typeof rewards) => part.reduce((sum, [, reward]) => sum + reward, 0) / part.length;
    expect(mean(rewards.slice(-3))).toBeGreaterThan(mean(rewards.slice(0, 3)) + 1);
  });

  const run = (out: string, more: Partial<GrpoInput> = {}, stopAt = 0) => {
    const config = resolveGrpo({
      model: policy,
      out: join(folder, out),
      device: 'cpu',
      task: 'arith',
      reward: [`model:${helpful}`, `model:${safe}`],
      rewardWeights: [1, 0.5],
      steps: 4,
      prompts: 2,
      group: 4,
      maxTokens: 6,
      lr: 1e-2,
      kl: 0,
      evaluateQuestions: 2,
      tensorboard: false,
      ...more,
    });
    let steps = 0;
    return grpo(config, (c, tokenizer) => openJudged(c, tokenizer), { shouldStop: () => ++steps === stopAt });
  };

  it('trains, and goes on after a stop with the same scale: to the same bits', async () => {
    const whole = await run('whole');
    const metrics = readFileSync(join(folder, 'whole', 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l));
    const step = metrics.find((m) => 'reward/model:helpful/mean' in m);
    expect(step['reward/model:helpful/std']).toBeGreaterThan(0);
    expect(step['reward/model:safe/mean']).toBeGreaterThan(0);
    await run('stopped', {}, 2);
    const last = await run('stopped');
    const stateOf = (checkpoint: string) =>
      ['trainer/grpo.safetensors', 'trainer/grpo.json'].map((f) => readFileSync(join(checkpoint, f)));
    expect(stateOf(last.checkpoint!)).toEqual(stateOf(whole.checkpoint!));
    const { grader } = JSON.parse(readFileSync(join(whole.checkpoint!, 'trainer/grpo.json'), 'utf8'));
    expect(grader[0].count).toBe(32);
  });
});
