/** Learning-rate schedules and batch ramps: pure functions of the step. */

/** Shape of the learning rate after a linear warm-up from 0. Fractions are of the run's steps. */
export type Schedule = { readonly warmup: number } & (
  | { readonly kind: 'constant' }
  | { readonly kind: 'cosine' | 'linear'; readonly floor: number }
  /** DeepSeek-V2: multiplied by `dropFactor` after each fraction. Section 3.1.2: 0.316 at 0.6 and 0.9. */
  | { readonly kind: 'v2'; readonly drops: readonly number[]; readonly dropFactor: number }
  /** DeepSeek-V3, section 4.2. */
  | { readonly kind: 'v3' }
);

/** V3's pieces in trillions of tokens: constant, cosine to a tenth, constant, then a third of that. */
const V3 = { constant: 10, cosine: 4.3, low: 0.333, total: 14.8, floor: 2.2e-5 / 2.2e-4, last: 7.3e-6 / 2.2e-4 };

const cosine = (t: number, floor: number): number => floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * t));

/** Factor on the peak rate at `step` (0 is the first) of `steps`. */
export function scheduleFactor(schedule: Schedule, step: number, steps: number): number {
  if (step < schedule.warmup) return (step + 1) / schedule.warmup;
  const progress =
    steps > schedule.warmup ? Math.min((step - schedule.warmup) / Math.max(steps - schedule.warmup, 1), 1) : 1;
  switch (schedule.kind) {
    case 'constant':
      return 1;
    case 'cosine':
      return cosine(progress, schedule.floor);
    case 'linear':
      return 1 - (1 - schedule.floor) * progress;
    case 'v2':
      return schedule.dropFactor ** schedule.drops.filter((at) => step >= at * steps).length;
    case 'v3':
      return v3Factor(step / steps);
  }
}

function v3Factor(fraction: number): number {
  const tokens = fraction * V3.total;
  if (tokens < V3.constant) return 1;
  if (tokens < V3.constant + V3.cosine) return cosine((tokens - V3.constant) / V3.cosine, V3.floor);
  return tokens < V3.constant + V3.cosine + V3.low ? V3.floor : V3.last;
}

/** Rows of a step while the batch grows linearly from `start` to `rows` over the first `steps` steps. */
export function rampedRows(
  step: number,
  rows: number,
  ramp: { readonly from: number; readonly steps: number } | undefined,
): number {
  if (!ramp || step >= ramp.steps) return rows;
  return Math.min(rows, Math.round(ramp.from + ((rows - ramp.from) * step) / ramp.steps));
}

/** V3's weight of the multi-token-prediction loss: `weight`, and a third of it for the last third of the run. */
export function mtpWeightAt(weight: number, step: number, steps: number): number {
  return step < (V3.constant / V3.total) * steps ? weight : weight / 3;
}

/** V3's bias update speed: 0 for the last 500B of 14.8T tokens. */
export function biasSpeedAt(speed: number, step: number, steps: number): number {
  return step < (1 - 0.5 / V3.total) * steps ? speed : 0;
}
