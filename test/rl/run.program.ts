import { resolveGrpo } from '../../src/rl/config.js';
import { reject, resolveReject } from '../../src/rl/curate/index.js';
import type { Sample as Judgeable, openGraders } from '../../src/rl/rewards/index.js';
import { grpo } from '../../src/rl/run.js';
import type { Tokenizer } from '../../src/tokenizer/index.js';

/** Trains, or makes data, in the folder given, as a process of its own that a test may kill. */
const [what, model, out] = process.argv.slice(2) as [string, string, string];
const heard = () => process.stdout.write('at work\n');

/** The share of ids below 100 in a completion. */
async function lowIds(_: unknown, tokenizer: Tokenizer) {
  const ask = (index: number) => ({ index, prompt: `${index}`, ids: [...tokenizer.encode(`${index}`)] });
  return {
    source: { name: 'low', train: ask, test: () => undefined },
    grader: {
      rewards: [{ name: 'low', weight: 1 }],
      grade: async (samples: readonly { readonly ids: readonly number[] }[]) =>
        samples.map(({ ids }) => [{ value: ids.filter((id) => id < 100).length / ids.length }]),
    },
  };
}

/** Completions that begin below "a" are right. */
const open = (async () => ({
  grade: async (samples: readonly Judgeable[]) =>
    samples.map(({ completion }) => [{ value: completion < 'a' ? 1 : 0 }]),
  close() {},
})) as unknown as typeof openGraders;

const common = { model, out, device: 'cpu', threads: 1 } as const;
if (what === 'grpo') {
  const sizes = { steps: 60, prompts: 2, group: 4, maxTokens: 6, evaluateQuestions: 0, saveEvery: 1 };
  const more = { lr: 1e-2, updates: 2, kl: 0.01, resetReference: 3, tensorboard: false };
  await grpo(resolveGrpo({ ...common, ...sizes, ...more }), lowIds, {
    onEvent: ({ kind }) => kind === 'start' && heard(),
  });
} else {
  const sizes = { questions: 160, samples: 4, maxTokens: 120, batch: 2, most: 2 };
  const settings = resolveReject({ ...common, ...sizes, reward: ['number'], maxRepetition: 1 });
  await reject(settings, { open, onEvent: ({ kind }) => kind === 'start' && heard() });
}
process.stdout.write('end\n');
