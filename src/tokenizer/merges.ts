import { PairMap } from './pairs.js';

/**
 * The merges of a byte-pair vocabulary. Merge number m joins the neighbours `left[m]`, `right[m]` to `merged[m]`; the
 * smaller `rank[m]` goes first, and equal ranks (several ways to the same token, as in tiktoken) from the left.
 * Sennrich et al., arXiv:1508.07909.
 */
export interface MergeTable {
  readonly left: Int32Array;
  readonly right: Int32Array;
  readonly merged: Int32Array;
  readonly rank: Int32Array;
}

/** Larger than every rank. */
export const NO_RANK = 0x7fffffff;

/** The merges of a table, looked up by the pair that they join. */
export class Merges {
  readonly #pairs: PairMap;
  #seenLeft = -1; // the pair looked up last: repeated text asks for the same one over and over
  #seenRight = -1;
  #seen = -1;
  readonly merged: Int32Array;
  readonly rank: Int32Array;
  /** How many ranks there are, counting those below the largest that no merge has. */
  readonly ranks: number;
  /** The smallest rank of the merges with a token on their left, by token; `NO_RANK` without any. */
  readonly leftRank: Int32Array;

  constructor(table: MergeTable) {
    const { left, right, merged, rank } = table;
    this.merged = merged;
    this.rank = rank;
    this.#pairs = new PairMap(rank.length);
    let ranks = 0;
    let tokens = 0;
    for (let m = 0; m < rank.length; m++) {
      this.#pairs.getOrSet(left[m]!, right[m]!, m);
      ranks = Math.max(ranks, rank[m]! + 1);
      tokens = Math.max(tokens, left[m]! + 1, right[m]! + 1, merged[m]! + 1);
    }
    this.ranks = ranks;
    this.leftRank = new Int32Array(tokens).fill(NO_RANK);
    for (let m = 0; m < rank.length; m++) this.leftRank[left[m]!] = Math.min(this.leftRank[left[m]!]!, rank[m]!);
  }

  /** The number of the merge that joins two neighbours, or -1. */
  find(left: number, right: number): number {
    return this.#pairs.get(left, right);
  }

  /** The same where one pair is likely to be asked for again and again. */
  findAgain(left: number, right: number): number {
    if (left !== this.#seenLeft || right !== this.#seenRight) {
      this.#seenLeft = left;
      this.#seenRight = right;
      this.#seen = this.#pairs.get(left, right);
    }
    return this.#seen;
  }
}
