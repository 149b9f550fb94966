import type { MaskedIds } from '../../tokenizer/chat/index.js';
import { permutation } from '../order.js';
import { type Batch, IGNORE } from '../types.js';

/** Examples that are packed together: enough to fill rows to within a percent, few enough to keep the order random. */
const BLOCK = 4096;

/** Positions that an example takes: each token but the last is an input, each but the first a target. */
export const positionsOf = ({ ids }: Pick<MaskedIds, 'ids'>): number => ids.length - 1;

/**
 * The rows of one epoch: lists of examples that fit into `length` positions together, every example in exactly one. A pure
 * function of (seed, epoch). The examples are dealt into blocks of 4096, by the seed; in each block, the longest first, in an
 * order that the epoch decides among equals, each goes to the row it fills best; then the rows of all blocks are shuffled.
 * Best-fit packing, Ding et al., arXiv:2404.10830. How many rows a block takes depends on the lengths in it alone, so that all
 * epochs have as many, and none but the present one need be packed.
 * @param sizes positions of each example, at most `length`
 */
export function packRows(sizes: ArrayLike<number>, length: number, seed: number, epoch: number): number[][] {
  if (sizes.length === 0) return [];
  const member = permutation(sizes.length, seed, 0);
  const rows: number[][] = [];
  for (let start = 0; start < sizes.length; start += BLOCK) {
    const count = Math.min(BLOCK, sizes.length - start);
    const turn = permutation(count, seed, epoch);
    const block = Array.from({ length: count }, (_, i) => member(start + turn(i)));
    rows.push(...bestFit(block, sizes, length));
  }
  const order = permutation(rows.length, seed + 1, epoch);
  return rows.map((_, i) => rows[order(i)]!);
}

/** Rows by best fit, longest examples first. Equal lengths keep their order. */
function bestFit(block: readonly number[], sizes: ArrayLike<number>, length: number): number[][] {
  const rows: number[][] = [];
  const open: { readonly row: number[]; room: number }[] = []; // by room, ascending
  for (const example of block.toSorted((a, b) => sizes[b]! - sizes[a]!)) {
    const at = firstWithRoom(open, sizes[example]!);
    const taken = open[at];
    if (taken) open.splice(at, 1);
    const bin = taken ?? { row: [], room: length };
    if (!taken) rows.push(bin.row);
    bin.row.push(example);
    bin.room -= sizes[example]!;
    open.splice(firstWithRoom(open, bin.room), 0, bin);
  }
  return rows;
}

function firstWithRoom(open: readonly { readonly room: number }[], wanted: number): number {
  let low = 0;
  let high = open.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (open[middle]!.room < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Rows of examples as a batch. Attention stays within an example, positions start over in each, and only masked tokens are
 * targets. Rows are as long as the fullest; what is left of the others is a document of its own that is not trained.
 */
export function batchOf(examples: readonly MaskedIds[], rows: readonly (readonly number[])[]): Batch {
  const used = rows.map((row) => row.reduce((sum, example) => sum + positionsOf(examples[example]!), 0));
  const length = Math.max(...used);
  const ids = new Int32Array(rows.length * length);
  const targets = new Int32Array(rows.length * length).fill(IGNORE);
  const documentStart = new Int32Array(rows.length * length);
  let trainedTokens = 0;
  rows.forEach((row, r) => {
    let start = 0;
    for (const index of row) {
      const example = examples[index]!;
      const count = positionsOf(example);
      const at = r * length + start;
      ids.set(example.ids.subarray(0, count), at);
      documentStart.fill(start, at, at + count);
      for (let i = 0; i < count; i++) {
        if (!example.mask[i + 1]) continue;
        targets[at + i] = example.ids[i + 1]!;
        trainedTokens++;
      }
      start += count;
    }
    documentStart.fill(start, r * length + start, (r + 1) * length);
  });
  return { rows: rows.length, length, ids, targets, documentStart, trainedTokens, bytes: 0 };
}
