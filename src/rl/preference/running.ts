/** Mean and deviation of all numbers seen so far, as plain data. Welford, Technometrics 4 (1962). */
export interface Running {
  readonly count: number;
  readonly mean: number;
  /** Sum of squared differences from the mean. */
  readonly squares: number;
}

export const NOTHING_SEEN: Running = { count: 0, mean: 0, squares: 0 };

export function seen(running: Running, values: readonly number[]): Running {
  let { count, mean, squares } = running;
  for (const value of values) {
    count++;
    const before = value - mean;
    mean += before / count;
    squares += before * (value - mean);
  }
  return { count, mean, squares };
}

/** Minus the mean, divided by the deviation; 0 where all numbers were the same. As it is while fewer than two were seen. */
export function standardized({ count, mean, squares }: Running, value: number): number {
  if (count < 2) return value;
  const deviation = Math.sqrt(squares / (count - 1));
  return deviation > 0 ? (value - mean) / deviation : 0;
}
