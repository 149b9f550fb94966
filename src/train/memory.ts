import type { Model, Recurrence } from '../models/family.js';
import * as native from '../native.gen.js';
import type { Relative } from '../nn/relative_layout.js';
import { concat } from '../ops/concat.js';
import { type Communicator, shareOf } from '../parallel/index.js';
import {
  type Device,
  keep,
  noGrad,
  permanent,
  reshape,
  rows,
  scope,
  split,
  type Tensor,
  zeros,
} from '../tensor/index.js';

/**
 * What a model remembers of the rows before: what went into each layer, without gradients. Dai et al., Transformer-XL,
 * arXiv:1901.02860, section 3.2.
 */
export interface SegmentMemory {
  /** M, tokens of each row. */
  readonly length: number;
  /** First tokens of a row that are remembered; the next row of its number begins behind them. */
  readonly reuse: number;
  /** Per layer [rows, M*C]. */
  readonly layers: readonly Tensor[];
}

/** First tokens of rows of `length` that are remembered: half of them, where the model does not say. */
export const reuseOf = ({ reuseLength }: Pick<Recurrence, 'reuseLength'>, length: number): number =>
  reuseLength || Math.floor(length / 2);

/** The memory of `rows` rows, which lives until it is disposed; undefined of models that remember nothing, or without a bound. */
export function segmentMemory(
  { family, config, dtype }: Model,
  count: number,
  length: number,
  device: Device,
): SegmentMemory | undefined {
  const recurrence = family.recurrence?.(config);
  if (!recurrence?.remembers || recurrence.memoryLength === 0) return undefined;
  const width = recurrence.memoryLength * (config as { readonly hidden: number }).hidden;
  return permanent(() => ({
    length: recurrence.memoryLength,
    reuse: reuseOf(recurrence, length),
    layers: Array.from({ length: family.layers(config) }, () => zeros([count, width], { dtype, device })),
  }));
}

/** Each of several ranks has remembered its rows; now all have all of them, to be saved. */
export function shareMemory({ layers }: SegmentMemory, ranks: Communicator): void {
  scope(() => {
    const pieces = layers.flatMap((layer) =>
      Array.from({ length: ranks.size }, (_, owner) => {
        const [start, end] = shareOf(layer.shape[0]!, owner, ranks.size);
        return { owner, tensor: rows(layer, start, end) };
      }),
    );
    ranks.allGather(pieces, 'memory of the rows');
  });
}

/** What a pass reads of the memory, and what puts its rows into it once the pass and its way back are done. */
export type Remembering = Pick<Relative, 'memory' | 'onLayer'> & { remember(): void };

/** A pass over the rows start..end of a memory. */
export function remembering(memory: SegmentMemory, start: number, end: number): Remembering {
  const windows = memory.layers.map((layer) => rows(layer, start, end));
  const next: Tensor[] = [];
  return {
    memory: windows.map((layer) => reshape(layer, [(end - start) * memory.length, -1])),
    onLayer(i, input) {
      next[i] = keep(noGrad(() => later(memory, windows[i]!, input)));
    },
    remember() {
      for (const [i, values] of next.entries()) {
        scope(() => native.copy(rows(memory.layers[i]!, start, end), values));
        values.dispose();
      }
    },
  };
}

/** The last tokens of a layer's memory [rows, M*C] with the first of what goes into it now, [T,C], behind them. */
function later({ length, reuse }: SegmentMemory, layer: Tensor, input: Tensor): Tensor {
  const width = input.shape[1]!;
  const own = reshape(input, [layer.shape[0]!, -1]);
  const taken = Math.min(reuse, length);
  const fresh = split(own, [(reuse - taken) * width, taken * width, own.shape[1]! - reuse * width])[1]!;
  return concat([split(layer, [taken * width, (length - taken) * width])[1]!, fresh]);
}
