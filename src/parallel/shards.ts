/** Elements that stay together: moments in 8 bits share a scale (kernels/moments.h). */
export const SHARD_BLOCK = 256;

/** Elements from..to of a tensor, flat, that belong to one rank. */
export interface Shard {
  readonly owner: number;
  readonly from: number;
  readonly to: number;
}

/**
 * Cuts tensors into the shards of each rank: laid side by side, each rank has one stretch of them all, as long as the others' to
 * a block. By tensor, in order.
 *
 * ZeRO: Memory Optimizations Toward Training Trillion Parameter Models, arXiv:1910.02054, stage 1.
 */
export function cutShards(sizes: readonly number[], ranks: number): Shard[][] {
  const blocks = sizes.map((size) => Math.ceil(size / SHARD_BLOCK));
  const total = blocks.reduce((a, b) => a + b, 0);
  const border = (rank: number) => Math.floor((total * rank) / ranks);
  let begin = 0;
  return sizes.map((size, i) => {
    const [first, last] = [begin, begin + blocks[i]!];
    begin = last;
    const shards: Shard[] = [];
    for (let owner = 0; owner < ranks; owner++) {
      const from = Math.max(first, border(owner));
      const to = Math.min(last, border(owner + 1));
      if (from < to)
        shards.push({ owner, from: (from - first) * SHARD_BLOCK, to: Math.min((to - first) * SHARD_BLOCK, size) });
    }
    return shards;
  });
}

/** Items from..to of `count` that belong to a rank: as many as the others have, to one. */
export const shareOf = (count: number, rank: number, ranks: number): readonly [from: number, to: number] => [
  Math.floor((count * rank) / ranks),
  Math.floor((count * (rank + 1)) / ranks),
];
