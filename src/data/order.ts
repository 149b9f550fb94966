/** Pseudo-random functions of integers: the same arguments always give the same result, and nothing is remembered. */

/** One step of murmur3's 32-bit hash. */
function absorb(state: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  const h = state ^ k;
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

/** murmur3's finalizer: every input bit changes every output bit with probability near one half. */
function finish(state: number): number {
  let h = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

const TWO_32 = 2 ** 32;

/** Absorbs a safe integer as two words. */
function absorbInteger(state: number, value: number): number {
  return absorb(absorb(state, value | 0), Math.floor(value / TWO_32) | 0);
}

/** A 32-bit key for one purpose (`salt`) in one epoch. */
export function streamKey(seed: number, epoch: number, salt: number): number {
  return finish(absorbInteger(absorbInteger(absorb(0x2545f491, salt), seed), epoch));
}

/** Uniform 32-bit hash of a safe integer under a key. */
export function keyedHash(key: number, value: number): number {
  return finish(absorbInteger(key, value));
}

const ROUNDS = 8;

/**
 * A permutation of 0 .. n-1 that depends on (seed, epoch) and needs no table: index → place, in O(1).
 *
 * A Feistel network of 8 rounds over the smallest 2^b >= n (Luby & Rackoff, 1988, with halves of b/2 bits rounded down
 * and up), walked along its cycle until the result lies below n (Black & Rogaway, 2002). As 2^b < 2n, that takes under
 * two steps on average.
 * @param n 1 .. 2^53 - 1
 */
export function permutation(n: number, seed: number, epoch: number): (index: number) => number {
  let bits = 0;
  while (2 ** bits < n) bits++;
  const rightBits = bits - Math.floor(bits / 2);
  const rightSize = 2 ** rightBits;
  const leftMask = 2 ** (bits - rightBits) - 1;
  const rightMask = rightSize - 1;
  const keys = Array.from({ length: ROUNDS }, (_, round) => streamKey(seed, epoch, 0x100 + round));
  const shuffle = (index: number): number => {
    let left = Math.floor(index / rightSize);
    let right = index % rightSize;
    for (let round = 0; round < ROUNDS; round += 2) {
      left ^= finish(absorb(keys[round]!, right)) & leftMask;
      right ^= finish(absorb(keys[round + 1]!, left)) & rightMask;
    }
    return left * rightSize + right;
  };
  return (index) => {
    let place = shuffle(index);
    while (place >= n) place = shuffle(place);
    return place;
  };
}
