import { formatAmount, formatDuration } from '../../terminal/format.js';
import { plotLines } from '../../terminal/plot.js';
import type { CommonEnd, CommonFacts } from '../../train/events.js';

/** A curve to show at the end: what it is, and its points. */
export interface Curve {
  readonly title: string;
  readonly points: readonly (readonly [step: number, value: number])[];
}

/** What every run ends with: that it is done or how to go on, a curve, both evaluations, and where the model is. */
export function endLines<Score>(
  end: CommonEnd<Score>,
  curve: Curve,
  scoreText: (score: Score) => string,
  { columns, bold }: { readonly columns: number; readonly bold: (text: string) => string },
): string[] {
  return [
    '',
    bold(endTitle(end)),
    ...curveLines(curve, columns),
    ...(end.before ? ['', `before  ${scoreText(end.before)}`] : []),
    ...(end.after ? [`after   ${scoreText(end.after)}`] : []),
    ...(end.checkpoint ? [`model ${end.checkpoint}`] : []),
  ];
}

export const endTitle = (end: {
  readonly stopped: boolean;
  readonly step: number;
  readonly seconds: number;
}): string =>
  end.stopped
    ? `Stopped at step ${end.step}; run the same command to go on.`
    : `Done: ${formatAmount(end.step, 'step')} in ${formatDuration(end.seconds)}.`;

/** Where a run computes: `cpu-avx2, 2 threads`, or `8 ranks, each on cuda, 2 threads`. */
export const machineOf = (run: Pick<CommonFacts, 'device' | 'threads'> & { readonly ranks: number }): string =>
  `${run.ranks > 1 ? `${run.ranks} ranks, each on ` : ''}${run.device}, ${formatAmount(run.threads, 'thread')}`;

/** Nothing where there are not two points. */
export function curveLines({ title, points }: Curve, columns: number): string[] {
  if (points.length < 2) return [];
  return ['', title, plotLines([{ points }], { width: Math.min(columns, 100), height: 10, xLabel: 'step' })];
}
