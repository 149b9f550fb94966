/** Uniform integers from a seed and any number of indices; nothing is remembered between two of them. */
export interface Draw {
  /** low .. high, both included. */
  integer(low: number, high: number): number;
  pick<T>(items: readonly T[]): T;
}

/** mix of murmur3's finalizer; each word changes all bits. */
function mix(state: number, word: number): number {
  let h = (state ^ Math.imul(word, 0x9e3779b1)) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) | 0;
}

/** A 32-bit hash of safe integers. */
export function hashIntegers(...values: readonly number[]): number {
  let state = 0x3c6ef372;
  for (const value of values) state = mix(mix(state, value | 0), Math.floor(value / 2 ** 32) + 0x51);
  return state >>> 0;
}

/** A stream of draws that depends on nothing but its integers. */
export function draw(...seeds: readonly number[]): Draw {
  const [a, b] = [hashIntegers(...seeds, 1), hashIntegers(...seeds, 2)];
  let count = 0;
  const unit = (): number => {
    const high = hashIntegers(a, b, ++count) >>> 5;
    const low = hashIntegers(b, a, count) >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  };
  const integer = (low: number, high: number): number => low + Math.floor(unit() * (high - low + 1));
  return { integer, pick: (items) => items[integer(0, items.length - 1)]! };
}

/** Generated problems whose operands hash into one part of this many are held out; the others are for training. */
const TEST_PART = 8;

/** Whether a problem belongs to the held-out split: a property of its operands, so that the splits cannot meet. */
export const isHeldOut = (...operands: readonly number[]): boolean =>
  hashIntegers(0x7e57, ...operands) % TEST_PART === 0;

/**
 * The first problem of a stream that lies in the wanted split.
 * @param make a problem with its operands in an order that is the same for equal problems
 */
export function drawInSplit<T>(
  heldOut: boolean,
  seeds: readonly number[],
  make: (draw: Draw) => { readonly operands: readonly number[]; readonly problem: T } | undefined,
): T | undefined {
  for (let attempt = 0; attempt < 10_000; attempt++) {
    const made = make(draw(...seeds, heldOut ? 1 : 0, attempt));
    if (made && isHeldOut(...made.operands) === heldOut) return made.problem;
  }
  return undefined;
}
