import { readLabelled, readPairs } from '../../data/index.js';
import { loadScoring, type ScoreKind } from '../../models/scoring.js';
import {
  type PreferenceBatch,
  type PreferenceObjective,
  preferenceLoss,
  preferenceOf,
  scoresAt,
} from '../../ops/preference_loss.js';
import { differentiate, readLater, scope } from '../../tensor/index.js';
import type { Pass } from '../pass.js';
import type { RewardModelConfig } from './config.js';
import { encodeLabelled, encodePair, type Labelled, type Pair } from './encode.js';
import { scoreLabels, scorePairs, won } from './figures.js';
import { fitting, type Lesson, type LessonContext, type Progress, type Subject, type Sums } from './lesson.js';
import { cutByTokens, packTexts, type Text } from './pack.js';
import { forwardScores, scoreTexts } from './score.js';

/*
 * A reward model: a language model whose head is one row, read at the last token of a text.
 *
 *   pairwise (helpful)   -log sigmoid(s(x, y_chosen) - s(x, y_rejected))         Ouyang et al., arXiv:2203.02155
 *   pointwise (safety)   -y log sigmoid(s) - (1 - y) log sigmoid(-s)             DeepSeek-R1, arXiv:2501.12948, section 3.1
 *
 * Both sides of a pair are in one packed forward pass. Departure from the first paper: its K answers to a prompt are one
 * example there, here each pair is one.
 */

type Context<E> = LessonContext<E, RewardModelConfig>;

const loader = (kind: ScoreKind): Subject<unknown>['load'] => {
  return (path, options) => loadScoring(path, { ...options, kind });
};

const sidesOf = ({ chosen, rejected }: Pair): readonly Text[] => [chosen, rejected];

/** Which of two answers is better. */
export const pairwiseSubject: Subject<Pair, RewardModelConfig> = {
  name: 'reward_model',
  title: 'a reward model (pairwise)',
  unit: 'pairs',
  load: loader('pairwise'),
  read: async (config, template) => {
    const found = await readPairs(config.data, config);
    return fitting(found, (pair) => encodePair(template, pair), sidesOf, config);
  },
  textsOf: sidesOf,
  begin: pairwiseLesson,
};

/** Whether one answer is safe. */
export const safetySubject: Subject<Labelled, RewardModelConfig> = {
  name: 'reward_model',
  title: 'a reward model (pointwise)',
  unit: 'answers',
  load: loader('pointwise'),
  read: async (config, template) => {
    const found = await readLabelled(config.data, config);
    return fitting(
      found,
      (item) => encodeLabelled(template, item),
      ({ text }) => [text],
      config,
    );
  },
  textsOf: ({ text }) => [text],
  begin: safetyLesson,
};

function pairwiseLesson(context: Context<Pair>): Lesson<Pair> {
  const plain: PreferenceObjective = { kind: 'sigmoid', beta: 1 };
  const objective = { ...plain, center: context.config.center };
  const batchOf = (pairs: readonly Pair[], total: number) => ({ targets: pairs.map(({ margin }) => margin), total });
  return {
    learn(part, total) {
      return learnScores(context, part.flatMap(sidesOf), batchOf(part, total), objective, (scores) => {
        const sums = { accuracy: 0, margin: 0, chosen: 0, rejected: 0 };
        part.forEach((_, i) => {
          const [chosen, rejected] = [scores[2 * i]!, scores[2 * i + 1]!];
          sums.accuracy += won(chosen - rejected);
          sums.margin += chosen - rejected;
          sums.chosen += chosen;
          sums.rejected += rejected;
        });
        return named(sums);
      });
    },
    async evaluate(pairs, progress) {
      const texts = pairs.flatMap(sidesOf);
      const scores = await scored(context, texts, progress);
      const { loss } = preferenceOf(scores, batchOf(pairs, Math.max(pairs.length, 1)), plain);
      return scorePairs(scores, texts.map(answerLength), loss);
    },
  };
}

function safetyLesson(context: Context<Labelled>): Lesson<Labelled> {
  const objective: PreferenceObjective = { kind: 'pointwise', beta: 1 };
  const labelsOf = (items: readonly Labelled[]) => items.map(({ label }) => label);
  const textsOf = (items: readonly Labelled[]) => items.map(({ text }) => text);
  return {
    learn(part, total) {
      const targets = labelsOf(part);
      return learnScores(context, textsOf(part), { targets, total }, objective, (scores) => {
        const sums = { accuracy: 0, score: 0 };
        targets.forEach((label, i) => {
          sums.accuracy += won(label > 0.5 ? scores[i]! : -scores[i]!);
          sums.score += scores[i]!;
        });
        return named(sums);
      });
    },
    async evaluate(items, progress) {
      const scores = await scored(context, textsOf(items), progress);
      const targets = labelsOf(items);
      const { loss } = preferenceOf(scores, { targets, total: Math.max(items.length, 1) }, objective);
      return scoreLabels(scores, targets, loss);
    },
  };
}

const answerLength = ({ mask }: Text): number => mask.reduce((sum, m) => sum + m, 0);

const named = (sums: Sums): Sums =>
  Object.fromEntries(Object.entries(sums).map(([name, sum]) => [`rewards/${name}`, sum]));

/** One forward and backward pass over texts. */
function learnScores(
  { model, device, config }: Context<unknown>,
  texts: readonly Text[],
  batch: PreferenceBatch,
  objective: PreferenceObjective,
  sumsOf: (scores: ArrayLike<number>) => Sums,
): Pass<Sums> {
  const packed = packTexts(texts);
  return scope(() => {
    const { loss, read } = differentiate(() => {
      const scores = forwardScores(model, packed, device, config.recompute);
      const { loss, values } = preferenceLoss(scores, scoresAt(packed.last), batch, objective);
      return { loss, losses: [loss], read: readLater(values) };
    });
    return { loss, read: () => sumsOf(read()) };
  });
}

/** Scores without gradients, with breaks in which signals are heard. */
async function scored(
  { model, device, config }: Context<unknown>,
  texts: readonly Text[],
  progress: Progress,
): Promise<number[]> {
  const scores: number[] = [];
  for (const part of cutByTokens(texts, ({ ids }) => ids.length, config.rowsAtOnce)) {
    scores.push(...scoreTexts(model, part, device, config.rowsAtOnce));
    await progress(scores.length, texts.length);
  }
  return scores;
}
