import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parametersOf } from '../../src/models/codec.js';
import { loadModel } from '../../src/models/folder.js';
import { type GrpoInput, resolveGrpo } from '../../src/rl/config.js';
import { hasFallen, watched } from '../../src/rl/guard.js';
import { grpo, type Judged } from '../../src/rl/run.js';
import { bestFolder } from '../../src/rl/state.js';
import { device } from '../../src/tensor/index.js';
import type { Tokenizer } from '../../src/tokenizer/index.js';
import { modelFolder } from '../../src/train/run/model_folder.js';
import { tinyFolder } from './preference/tiny.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-guard-'));
const model = join(folder, 'model');
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeAll(async () => void (await tinyFolder(model)));

const settings = (out: string, more: Partial<GrpoInput> = {}) =>
  resolveGrpo({
    model,
    out: join(folder, out),
    device: 'cpu',
    steps: 6,
    prompts: 1,
    group: 2,
    maxTokens: 3,
    kl: 0,
    evaluateEvery: 1,
    evaluateQuestions: 4,
    stopOnDrop: 0.3,
    tensorboard: false,
    ...more,
  });

/** Rewards that the policy seems to please better and better, while so many of its four test answers are right. */
const rising = (right: readonly number[]) => {
  let evaluation = 0;
  return async (_: unknown, tokenizer: Tokenizer): Promise<Judged> => {
    const ask = (index: number) => ({ index, prompt: `${index}`, ids: [...tokenizer.encode(`${index}`)] });
    return {
      source: { name: 'hacked', train: ask, test: (i) => (i < 4 ? ask(100 + i) : undefined) },
      grader: {
        rewards: [{ name: 'rule', weight: 1 }],
        grade: async (samples, { observe }) => {
          if (observe) return samples.map((_s, i) => [{ value: i }]);
          const share = right[evaluation++]!;
          return samples.map((_s, i) => [{ value: i < share ? 1 : 0 }]);
        },
      },
    };
  };
};

describe('the guard', () => {
  it('remembers the best accuracy, and the step of it', () => {
    const after = [0.2, 0.5, 0.5, 0.3].reduce<ReturnType<typeof watched> | undefined>(
      (guard, accuracy, step) => watched(guard, step, accuracy),
      undefined,
    );
    expect(after).toEqual({ best: 0.5, bestStep: 1, last: 0.3 });
    expect([
      hasFallen(after, 0.1),
      hasFallen(after, 0.3),
      hasFallen(after, undefined),
      hasFallen(undefined, 0),
    ]).toEqual([true, false, false, false]);
  });

  it('ends a run whose rewards rise while its answers get worse, and keeps the best model', async () => {
    const config = settings('hacked');
    const end = await grpo(config, rising([2, 3, 4, 3, 2]));
    expect([end.step, end.stopped]).toEqual([4, false]);
    expect(end.fallen).toMatch(
      /^Stopped: on test questions 50\.0% are right, more than --stop-on-drop 0\.3 below the 100\.0% of step 2, .* The model of step 2 is in .*best; give it as --model/,
    );
    const best = modelFolder(bestFolder(config.out));
    expect(existsSync(join(best, 'config.json'))).toBe(true);
    const kept = loadModel(best, { device: device('cpu') });
    for (const { tensor } of parametersOf(kept)) tensor.dispose();
    const again = await grpo(config, rising([]));
    expect([again.step, again.rewards, again.fallen]).toEqual([4, [], end.fallen]);
    const released = await grpo({ ...config, stopOnDrop: 0.9 }, rising([2, 1]));
    expect([released.step, released.fallen]).toEqual([6, undefined]);
  });

  it('lets a run be that does not fall so far', async () => {
    const end = await grpo(settings('honest', { steps: 3 }), rising([4, 3, 4, 3]));
    expect([end.step, end.fallen]).toEqual([3, undefined]);
  });

  it('asks for the evaluations that it looks at', () => {
    expect(() => settings('blind', { evaluateEvery: 0 })).toThrow(/stopOnDrop = 0.3: it looks at evaluations/);
  });
});
