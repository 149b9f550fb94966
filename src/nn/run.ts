import type { Tensor } from '../tensor/index.js';
import type { KvCache } from './cache.js';
import type { Layout } from './layout.js';
import type { Relative } from './relative_layout.js';

/** What a router decided in one layer, for load balancing, parity tests and replay. */
export interface Routing {
  readonly layer: number;
  /** [T,K] i32, -1 on padding. */
  readonly experts: Tensor;
  /** [T,K] f32 */
  readonly weights: Tensor;
  /** [E] i32 */
  readonly counts: Tensor;
}

/** One forward pass: where the tokens stand, and what the caller wants besides the result. */
export interface Run {
  readonly layout: Layout;
  /** [T] i32, which of two sentences each token is of, for encoders; absent: 0. */
  readonly types?: Tensor;
  /** Where tokens stand for attention by distances, and what is remembered: XLNet. Absent: as the layout says, and nothing. */
  readonly relative?: Relative;
  /** Scalar losses that layers report (load balance). They are roots of the backward pass already; the caller disposes them. */
  readonly losses: Tensor[];
  /** Present when generating: keys of earlier tokens are read from it and new ones written. */
  readonly cache?: KvCache;
  /** Weights of the balance losses; absent: none (evaluation, RL). */
  readonly balance?: boolean;
  /** Divides per-sequence auxiliary losses when a step has several micro-batches. */
  readonly auxScale?: number;
  /** Recompute each block in the backward pass instead of keeping its activations. */
  readonly recompute?: boolean;
  /** Its tensors live until it returns. */
  readonly onRouting?: (routing: Routing) => void;
  /** Experts to use instead of choosing, per layer [T,K]: routing replay. */
  readonly replay?: (layer: number) => Tensor | undefined;
  /** The stream after the embedding (0) and after each layer; the last after the final norm. */
  readonly onHidden?: (index: number, hidden: Tensor) => void;
}
