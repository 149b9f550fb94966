import { keyedHash } from './order.js';

/** Whole numbers 0 .. n-1, another one at each call. */
export type Draw = (n: number) => number;

/** Random numbers of one row, always the same under a key. */
export function drawsOf(key: number): Draw {
  let drawn = 0;
  return (n) => Math.floor((keyedHash(key, drawn++) / 2 ** 32) * n);
}

/** Divisible by every length of a run. */
const SHARE = 60;
/** Runs are no longer than this. */
export const LONGEST_RUN = 6;

/** A length n of 1 .. `longest` with p(n) proportional to 1/n: short runs are more frequent. */
export function runLength(longest: number, draw: Draw): number {
  let sum = 0;
  for (let n = 1; n <= longest; n++) sum += SHARE / n;
  let left = draw(sum);
  for (let n = 1; n < longest; n++) {
    if (left < SHARE / n) return n;
    left -= SHARE / n;
  }
  return longest;
}

/** Puts the first `count` of some values into random places, in place (Fisher and Yates). */
export function shuffleFirst<T>(values: T[], count: number, draw: Draw): void {
  for (let k = 0; k < Math.min(count, values.length); k++) {
    const other = k + draw(values.length - k);
    [values[k], values[other]] = [values[other]!, values[k]!];
  }
}
