import { TrainMoeError } from '../errors.js';
import { contentHash } from './hash.js';
import type { TextStage } from './types.js';

const KEY_WORDS = 4;

/** Larger tables would need indices beyond 31 bits: 2^28 keys, 8 GiB. */
const MAX_WORDS = 2 ** 31;

/**
 * A set of 128-bit keys in one typed array: 16 bytes a key at a load of at most one half, where a `Set` of strings
 * would take over 100. Open addressing with linear probing; the all-zero key marks a free place and is held apart.
 */
export class KeySet {
  private words: Uint32Array;
  private count = 0;
  private hasZero = false;

  constructor(capacity = 1024) {
    this.words = new Uint32Array(KEY_WORDS * 2 ** Math.ceil(Math.log2(Math.max(2, capacity))));
  }

  get size(): number {
    return this.count + (this.hasZero ? 1 : 0);
  }

  /** Adds the first 16 bytes of `hash`; returns whether they were new. */
  add(hash: Buffer): boolean {
    const key = [hash.readUInt32LE(0), hash.readUInt32LE(4), hash.readUInt32LE(8), hash.readUInt32LE(12)] as const;
    if ((key[0] | key[1] | key[2] | key[3]) === 0) {
      const fresh = !this.hasZero;
      this.hasZero = true;
      return fresh;
    }
    if (2 * (this.count + 1) * KEY_WORDS > this.words.length) this.grow();
    return this.insert(key);
  }

  private insert(key: readonly [number, number, number, number]): boolean {
    const { words } = this;
    const mask = words.length - 1;
    for (let at = (key[0] * KEY_WORDS) & mask; ; at = (at + KEY_WORDS) & mask) {
      const free = (words[at]! | words[at + 1]! | words[at + 2]! | words[at + 3]!) === 0;
      if (free) {
        words.set(key, at);
        this.count++;
        return true;
      }
      if (words[at] === key[0] && words[at + 1] === key[1] && words[at + 2] === key[2] && words[at + 3] === key[3]) {
        return false;
      }
    }
  }

  private grow(): void {
    const old = this.words;
    if (old.length >= MAX_WORDS) {
      const sentence = `Exact deduplication holds at most ${this.count} documents; split the corpus or turn dedup off.`;
      throw new TrainMoeError('out-of-memory', sentence);
    }
    this.words = new Uint32Array(old.length * 2);
    this.count = 0;
    for (let at = 0; at < old.length; at += KEY_WORDS) {
      const key = [old[at]!, old[at + 1]!, old[at + 2]!, old[at + 3]!] as const;
      if ((key[0] | key[1] | key[2] | key[3]) !== 0) this.insert(key);
    }
  }
}

/**
 * Drops documents whose exact text came before. Keys are 128 bits of SHA-256: among 10^9 documents the chance that two
 * different texts meet is under 10^-20.
 */
export function exactDedup(): TextStage {
  return {
    name: 'exact-dedup',
    async *run(documents, report) {
      const seen = new KeySet();
      for await (const document of documents) {
        if (seen.add(contentHash(document))) yield document;
        else report.duplicates++;
      }
    },
  };
}
