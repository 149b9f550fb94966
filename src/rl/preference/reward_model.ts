import { readLabelled, readPairs } from '../../data/index.js';
import { loadScoring, type ScoreKind } from '../../models/scoring.js';
import type { HostLoss } from '../../ops/host_loss.js';
import { pairwiseReward, pointwiseReward, rewardLoss } from '../../ops/reward_loss.js';
import { differentiate, scope } from '../../tensor/index.js';
import type { RewardModelConfig } from './config.js';
import { encodeLabelled, encodePair, type Labelled, type Pair } from './encode.js';
import { scoreLabels, scorePairs, won } from './figures.js';
import { fitting, type Lesson, type LessonContext, type Progress, type Subject } from './lesson.js';
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
  const { center } = context.config;
  const margins = (pairs: readonly Pair[]) => pairs.map(({ margin }) => margin);
  return {
    learn(part, total) {
      const { loss, scores } = learnScores(context, part.flatMap(sidesOf), (s) =>
        pairwiseReward(s, { margin: margins(part), center, total }),
      );
      const sums = { accuracy: 0, margin: 0, chosen: 0, rejected: 0 };
      part.forEach((_, i) => {
        const [chosen, rejected] = [scores[2 * i]!, scores[2 * i + 1]!];
        sums.accuracy += won(chosen - rejected);
        sums.margin += chosen - rejected;
        sums.chosen += chosen;
        sums.rejected += rejected;
      });
      return { loss, sums: named(sums) };
    },
    async evaluate(pairs, progress) {
      const texts = pairs.flatMap(sidesOf);
      const scores = await scored(context, texts, progress);
      const { loss } = pairwiseReward(scores, { margin: margins(pairs), total: Math.max(pairs.length, 1) });
      return scorePairs(scores, texts.map(answerLength), loss);
    },
  };
}

function safetyLesson(context: Context<Labelled>): Lesson<Labelled> {
  const labelsOf = (items: readonly Labelled[]) => items.map(({ label }) => label);
  const textsOf = (items: readonly Labelled[]) => items.map(({ text }) => text);
  return {
    learn(part, total) {
      const labels = labelsOf(part);
      const { loss, scores } = learnScores(context, textsOf(part), (s) => pointwiseReward(s, labels, total));
      const sums = { accuracy: 0, score: 0 };
      labels.forEach((label, i) => {
        sums.accuracy += won(label > 0.5 ? scores[i]! : -scores[i]!);
        sums.score += scores[i]!;
      });
      return { loss, sums: named(sums) };
    },
    async evaluate(items, progress) {
      const scores = await scored(context, textsOf(items), progress);
      const labels = labelsOf(items);
      return scoreLabels(scores, labels, pointwiseReward(scores, labels, Math.max(items.length, 1)).loss);
    },
  };
}

const answerLength = ({ mask }: Text): number => mask.reduce((sum, m) => sum + m, 0);

const named = (sums: Readonly<Record<string, number>>) =>
  Object.fromEntries(Object.entries(sums).map(([name, sum]) => [`rewards/${name}`, sum]));

/** One forward and backward pass over texts. */
function learnScores(
  { model, device, config }: Context<unknown>,
  texts: readonly Text[],
  loss: (scores: Float32Array) => HostLoss,
): { readonly loss: number; readonly scores: Float32Array } {
  const packed = packTexts(texts);
  return scope(() => {
    const { value } = differentiate(() => {
      const value = rewardLoss(forwardScores(model, packed, device, config.recompute), packed.last, loss);
      return { value, losses: [value.root] };
    });
    return { loss: value.loss, scores: value.scores };
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
