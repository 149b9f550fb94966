import { readPairs } from '../../data/index.js';
import { loadDecoder } from '../../models/folder.js';
import {
  answerValues,
  logProbsOfAnswers,
  type PreferenceBatch,
  type PreferenceObjective,
  preferenceLoss,
  preferenceOf,
} from '../../ops/preference_loss.js';
import { differentiate, from, keep, noGrad, readLater, scope, tagged } from '../../tensor/index.js';
import { forwardPacked } from '../score.js';
import type { DpoConfig } from './config.js';
import { encodePair, type Pair } from './encode.js';
import { scorePairs, won } from './figures.js';
import { fitting, type Lesson, type LessonContext, type Progress, type Subject, type Sums } from './lesson.js';
import { cutByTokens, packTexts, type Text } from './pack.js';

/*
 * Direct preference optimization. Rafailov et al., arXiv:2305.18290.
 *
 *     h    = beta [ log pi/ref(y_chosen | x) - log pi/ref(y_rejected | x) ]
 *     loss = mean over pairs of -log sigmoid(h)                      log pi(y | x) = sum over the tokens of y
 *
 * The reference is the model at the start. Its log-probabilities are found once, before the first step, and kept in the
 * checkpoints: no second model is held.
 */

/** A pair with the place of its reference log-probabilities. */
export interface NumberedPair extends Pair {
  readonly index: number;
}

type Context = LessonContext<NumberedPair, DpoConfig>;

const sidesOf = ({ chosen, rejected }: Pair): readonly Text[] => [chosen, rejected];
const TEMPERATURE = 1;

export const dpoSubject: Subject<NumberedPair, DpoConfig> = {
  name: 'dpo',
  title: 'DPO',
  unit: 'pairs',
  load: loadDecoder,
  read: async (config, template) => {
    const found = await readPairs(config.data, config);
    const examples = fitting(found, (pair) => encodePair(template, pair), sidesOf, config);
    const { train, test } = examples;
    return {
      ...examples,
      train: train.map((pair, index) => ({ ...pair, index })),
      test: test.map((pair, i) => ({ ...pair, index: train.length + i })),
    };
  },
  textsOf: sidesOf,
  begin: dpoLesson,
};

function dpoLesson(context: Context): Lesson<NumberedPair> {
  const { model, device, config, examples } = context;
  const objective: PreferenceObjective = { beta: config.beta, kind: config.loss, smoothing: config.smoothing };
  const all = [...examples.train, ...examples.test];
  // [2N], pair by pair. In f64, so that the policy is exactly the reference before the first step.
  const held = config.reference === 'model' ? keep(from(new Float64Array(2 * all.length))) : undefined;
  let reference: Float64Array | undefined;
  const batchOf = (pairs: readonly NumberedPair[], total: number): PreferenceBatch => {
    reference ??= held?.readDoubles();
    const values = reference;
    if (!values) return { total };
    return { reference: pairs.flatMap(({ index }) => [values[2 * index]!, values[2 * index + 1]!]), total };
  };
  return {
    ...(held && { tensors: [['reference', held] as const], dispose: () => held.dispose() }),
    async prepare(progress) {
      if (held) held.write(Float64Array.from(await logProbsOf(context, all.flatMap(sidesOf), progress)));
    },
    learn(part, total) {
      const packed = packTexts(part.flatMap(sidesOf));
      const batch = batchOf(part, total);
      const answers = logProbsOfAnswers(packed.rows, packed.starts, config.average);
      return scope(() => {
        const { loss, read } = differentiate(() => {
          const options = { device, temperature: TEMPERATURE };
          const { nll } = forwardPacked(model, packed, options, { recompute: config.recompute });
          const { loss, values } = preferenceLoss(nll, answers, batch, objective);
          return { loss, losses: [loss], read: readLater(values) };
        });
        return { loss, read: () => sumsOf(read(), batch.reference, config.beta) };
      });
    },
    async evaluate(pairs, progress) {
      const texts = pairs.flatMap(sidesOf);
      const logProbs = await logProbsOf(context, texts, progress);
      const batch = batchOf(pairs, Math.max(pairs.length, 1));
      const rewards = rewardsOf(logProbs, batch.reference, config.beta);
      const lengths = texts.map(({ mask }) => mask.reduce((sum, m) => sum + m, 0));
      return scorePairs(rewards, lengths, preferenceOf(logProbs, batch, objective).loss);
    },
  };
}

/** beta log(pi / ref): the rewards that the policy implies. */
const rewardsOf = (logProbs: ArrayLike<number>, reference: ArrayLike<number> | undefined, beta: number) =>
  Array.from(logProbs, (logProb, i) => beta * (logProb - (reference?.[i] ?? 0)));

function sumsOf(logProbs: ArrayLike<number>, reference: ArrayLike<number> | undefined, beta: number): Sums {
  const rewards = rewardsOf(logProbs, reference, beta);
  const sums = { accuracy: 0, margin: 0, chosen: 0, rejected: 0, logChosen: 0, logRejected: 0 };
  for (let i = 0; i < rewards.length; i += 2) {
    const lead = rewards[i]! - rewards[i + 1]!;
    sums.accuracy += won(lead);
    sums.margin += lead;
    sums.chosen += rewards[i]!;
    sums.rejected += rewards[i + 1]!;
    sums.logChosen += logProbs[i]!;
    sums.logRejected += logProbs[i + 1]!;
  }
  return {
    'rewards/accuracy': sums.accuracy,
    'rewards/margin': sums.margin,
    'rewards/chosen': sums.chosen,
    'rewards/rejected': sums.rejected,
    'logps/chosen': sums.logChosen,
    'logps/rejected': sums.logRejected,
  };
}

/** log pi of whole answers without gradients, with breaks in which signals are heard. */
async function logProbsOf(
  { model, device, config }: Context,
  texts: readonly Text[],
  progress: Progress,
): Promise<number[]> {
  const found: number[] = [];
  for (const part of cutByTokens(texts, ({ ids }) => ids.length, config.rowsAtOnce)) {
    const packed = packTexts(part);
    const answers = logProbsOfAnswers(packed.rows, packed.starts, config.average);
    const score = () => {
      const { nll } = forwardPacked(model, packed, { device, temperature: TEMPERATURE });
      return answerValues(nll, answers).readDoubles();
    };
    const values = tagged('activations', () => noGrad(score));
    found.push(...values);
    await progress(found.length, texts.length);
  }
  return found;
}
