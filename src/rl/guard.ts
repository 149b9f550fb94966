/*
 * The guard against reward hacking: a policy that learns to please a reward model, or to exploit a rule, gets worse at what
 * the first reward measures on questions it is not trained on. Gao et al., arXiv:2210.10760, show the course of it.
 */

/** What evaluations have shown so far. */
export interface Guard {
  /** Accuracy */
  readonly best: number;
  readonly bestStep: number;
  readonly last: number;
}

/** The guard after an evaluation. */
export function watched(guard: Guard | undefined, step: number, accuracy: number): Guard {
  if (!guard || accuracy > guard.best) return { best: accuracy, bestStep: step, last: accuracy };
  return { ...guard, last: accuracy };
}

/** Whether the last accuracy lies more than `drop` below the best one. */
export const hasFallen = (guard: Guard | undefined, drop: number | undefined): guard is Guard =>
  guard !== undefined && drop !== undefined && guard.best - guard.last > drop;

export function fallSentence({ best, bestStep, last }: Guard, drop: number, path: string): string {
  const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
  return (
    `Stopped: on test questions ${percent(last)} are right, more than --stop-on-drop ${drop} below the ${percent(best)} of step ${bestStep}, ` +
    `so the rewards are being exploited. The model of step ${bestStep} is in ${path}; give it as --model, with another --out and a larger --kl, a lower --lr or other rewards.`
  );
}
