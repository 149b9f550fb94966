import { disposeModel } from '../../models/codec.js';
import type { Model } from '../../models/family.js';
import { resolveGrpo } from '../../rl/config.js';
import { type GrpoParts, grpoStep, type Phase } from '../../rl/grpo.js';
import { policyEngine } from '../../rl/rollout.js';
import type { Grader, QuestionSource } from '../../rl/sample.js';
import type { Case, Job } from '../case.js';
import { randomInts } from '../inputs.js';
import { buildModel, makeOptimizer, modelShape, modelVariants } from '../model.js';
import type { JobShapes } from '../shapes.js';

/**
 * A step of GRPO: `prompts` questions, `group` completions each of `new` tokens sampled at temperature 1 without an early
 * end, rewards, one update of all weights; no reference model. Rows tell the seconds of each phase.
 */
export const grpo: Job<'grpo'> = {
  name: 'grpo',
  repetitions: { budget: 4, warmup: 2, least: 6, most: 100 },
  async run(c) {
    for (const { dtype, rival } of modelVariants(c.options.dtype))
      if (c.wants({ rival })) await timeSteps(c, dtype, rival);
  },
};

async function timeSteps(c: Case<JobShapes['grpo']>, dtype: 'f32' | 'bf16', rival: string): Promise<void> {
  const { prompts, group, new: maxTokens, model: name } = c.shape;
  const sizes = modelShape(name, c.options.smoke);
  const config = resolveGrpo({
    ...{ model: name, prompts, group, maxTokens, dtype },
    ...{ lr: 1e-4, kl: 0, temperature: 1, maxPrompt: 8, parallel: prompts * group },
  });
  const model = buildModel(sizes, { dtype, device: c.device, train: true, context: 64 });
  const parts = partsFor(c, model, config);
  try {
    const seconds: Readonly<Record<Phase, number>>[] = [];
    let step = 0;
    const run = async () => void seconds.push((await grpoStep(parts, step, prompts * step++)).seconds);
    const further = ({ n }: { readonly n: number }) => phasesOf(seconds.slice(-n));
    await c.timeAsync({ rival, metric: 'completions_per_s', work: prompts * group, further }, run);
  } finally {
    parts.engine.dispose();
    parts.optimizer.dispose();
    disposeModel(model);
  }
}

function partsFor(c: Case<JobShapes['grpo']>, model: Model, config: GrpoParts['config']): GrpoParts {
  return {
    model,
    config,
    optimizer: makeOptimizer(c.device, model, 0),
    reference: undefined,
    engine: policyEngine(model, c.device, config),
    tokenizer: undefined,
    stopIds: [],
    source: sums,
    grader: sumGrader,
    device: c.device,
  };
}

/** Mean seconds of a phase, over the repetitions that count. */
function phasesOf(all: readonly Readonly<Record<Phase, number>>[]): Readonly<Record<string, number>> {
  const phases = Object.keys(all[0] ?? {}) as Phase[];
  const mean = (phase: Phase) => all.reduce((sum, seconds) => sum + seconds[phase], 0) / all.length;
  return Object.fromEntries(phases.map((phase) => [`${phase}_seconds`, Number(mean(phase).toPrecision(4))]));
}

/** Ids 0 and 1 are marks; then come the bytes. */
const FIRST_BYTE = 2;

/** "a+b=" with two numbers below 100, a token a character. */
const sums: QuestionSource = {
  name: 'sums',
  train(index) {
    const [a, b] = randomInts(2, 100, index + 1) as unknown as [number, number];
    const prompt = `${a}+${b}=`;
    return { index, prompt, answer: String(a + b), ids: [...Buffer.from(prompt)].map((byte) => byte + FIRST_BYTE) };
  },
  test: () => undefined,
};

/** One for the right sum, and a little for digits, so that groups differ from the first step on. */
const sumGrader: Grader = {
  rewards: [{ name: 'sum', weight: 1 }],
  grade: async (samples) =>
    samples.map(({ ids, question }) => {
      const bytes = ids.map((id) => id - FIRST_BYTE).filter((byte) => byte >= 0 && byte < 256);
      const text = Buffer.from(bytes).toString('utf8');
      const digits = text.replace(/\D/g, '').length;
      return [{ value: (text.startsWith(question.answer!) ? 1 : 0) + digits / (10 * text.length + 1) }];
    }),
};
