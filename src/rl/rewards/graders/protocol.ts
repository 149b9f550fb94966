import type { RewardResult, RewardSpec, Sample } from '../types.js';

/** What the pool sends a grader: one JSON object a line, over descriptor 3. */
export type Request =
  | { readonly kind: 'load'; readonly rewards: readonly RewardSpec[]; readonly memoryMb: number }
  | { readonly kind: 'score'; readonly id: number; readonly reward: number; readonly sample: Sample };

/** What a grader answers. */
export type Reply =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'memory'; readonly reason: string }
  | { readonly kind: 'scored'; readonly id: number; readonly result: RewardResult };

/** Bytes of one reply. A result is a number, a reason and a little log; more is a fault of the grader. */
export const MAX_REPLY = 256 * 1024;
/** Characters of a result's log as JSON; a longer one is dropped. */
export const MAX_LOG = 64 * 1024;
/** Characters of a reason. */
export const MAX_REASON = 500;

/**
 * Cuts a stream into lines without holding more than `limit` bytes.
 * @returns a function for chunks, which gives the complete lines, or undefined once a line is too long
 */
export function lineSplitter(limit: number): (chunk: Buffer) => string[] | undefined {
  let pending: Buffer[] = [];
  let size = 0;
  return (chunk) => {
    const last = chunk.lastIndexOf(10);
    size = last < 0 ? size + chunk.length : chunk.length - last - 1;
    if (size > limit) return undefined;
    if (last < 0) {
      pending.push(chunk);
      return [];
    }
    const text = Buffer.concat([...pending, chunk.subarray(0, last)]).toString('utf8');
    pending = [chunk.subarray(last + 1)];
    return text.split('\n');
  };
}
