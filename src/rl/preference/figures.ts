import { moments } from '../advantage.js';

/** How well scores agree with what people chose, on texts that were not trained on. */
export interface PreferenceScore {
  /** Pairs, or labelled answers. */
  readonly count: number;
  /** Share of pairs whose chosen side scores higher, or of labels that the score's sign tells; ties count half. */
  readonly accuracy: number;
  /** Its 95% confidence interval. */
  readonly interval: readonly [low: number, high: number];
  /** Mean score of the better minus that of the worse. */
  readonly margin: number;
  readonly loss: number;
  /** What a rule that reads nothing reaches: choosing the longer side, or the more frequent label. */
  readonly baseline: number;
}

/**
 * Wilson's 95% interval of a share, as if the n cases were independent; pairs of one prompt are not quite.
 * Wilson, JASA 22 (1927).
 */
export function wilson(share: number, n: number): [low: number, high: number] {
  if (n === 0) return [0, 1];
  const z = 1.959964;
  const centre = (share + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n));
  return [Math.max(centre - half, 0), Math.min(centre + half, 1)];
}

/** 1 where the lead is positive, 0 where it is negative, a half for a tie. */
export const won = (lead: number): number => (lead > 0 ? 1 : lead < 0 ? 0 : 0.5);

const mean = (values: readonly number[]): number => moments(values).mean;

/** The figures of pairs, scores chosen and rejected in turn. `lengths` likewise, in tokens of the answers. */
export function scorePairs(scores: ArrayLike<number>, lengths: ArrayLike<number>, loss: number): PreferenceScore {
  const leads = Array.from({ length: scores.length / 2 }, (_, i) => scores[2 * i]! - scores[2 * i + 1]!);
  const longer = leads.map((_, i) => won(lengths[2 * i]! - lengths[2 * i + 1]!));
  const accuracy = mean(leads.map(won));
  const count = leads.length;
  return { count, accuracy, interval: wilson(accuracy, count), margin: mean(leads), loss, baseline: mean(longer) };
}

/** The figures of labelled answers. */
export function scoreLabels(scores: ArrayLike<number>, labels: readonly number[], loss: number): PreferenceScore {
  const accuracy = mean(labels.map((label, i) => won(label > 0.5 ? scores[i]! : -scores[i]!)));
  const of = (wanted: boolean) => labels.flatMap((label, i) => (label > 0.5 === wanted ? [scores[i]!] : []));
  const good = of(true).length / Math.max(labels.length, 1);
  const margin = mean(of(true)) - mean(of(false));
  const count = labels.length;
  return { count, accuracy, interval: wilson(accuracy, count), margin, loss, baseline: Math.max(good, 1 - good) };
}
