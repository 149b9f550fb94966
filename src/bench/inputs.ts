import * as native from '../native.gen.js';
import type { Acc } from '../native.js';
import { type Device, type DType, empty, from, type Shape, type Tensor } from '../tensor/index.js';
import type { JobShapes } from './shapes.js';

/** A gradient that nobody asks for. */
export const none: Acc = { id: 0, beta: 0 };

/** A gradient to be written over, as the first of a step is. */
export const into = (tensor: Tensor): Acc => ({ id: tensor.id, beta: 0 });

let seeds = 0;

/** Normally distributed values. Every call draws others; every run of a case draws the same. */
export function draw(shape: Shape, options: { dtype: DType; device: Device; weight?: boolean }, deviation = 1): Tensor {
  const x = empty(shape, options);
  native.randomNormal(x, 0, deviation, ++seeds);
  return x;
}

/** Uniform numbers in [0, 1) from a seed: the mulberry32 generator, good enough to choose inputs. */
export function uniforms(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z = (z + Math.imul(z ^ (z >>> 7), z | 61)) ^ z;
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Integers 0 .. below-1. */
export function randomInts(count: number, below: number, seed: number): Int32Array {
  const uniform = uniforms(seed);
  return Int32Array.from({ length: count }, () => Math.floor(uniform() * below));
}

/** Integers 0 .. below-1 on a device, as targets or token ids. */
export const drawInts = (count: number, below: number, device: Device, seed = 1): Tensor =>
  from(randomInts(count, below, seed), [count], { device });

/** Which experts each token goes to, best first, and with what weight. */
export interface Routes {
  readonly experts: Int32Array; // [T,K]
  readonly weights: Float32Array; // [T,K], each row sums to 1
}

/**
 * Routes evenly spread, or skewed as popularity often is: `uniform` draws a token's experts without preference, `zipf`
 * draws expert e with chances as 1/sqrt(e+1). Without replacement, by the largest of log chance + Gumbel noise (Kool et
 * al., arXiv:1903.06059).
 */
export function drawRoutes(s: Pick<JobShapes['moe'], 'tokens' | 'experts' | 'top_k' | 'routing'>, seed = 7): Routes {
  const uniform = uniforms(seed);
  const lean = Float64Array.from({ length: s.experts }, (_, e) => (s.routing === 'zipf' ? -0.5 * Math.log(e + 1) : 0));
  const experts = new Int32Array(s.tokens * s.top_k);
  const weights = new Float32Array(s.tokens * s.top_k);
  for (let t = 0; t < s.tokens; t++) {
    const keys = lean.map((chance) => chance - Math.log(-Math.log(Math.min(Math.max(uniform(), 1e-9), 1 - 1e-7))));
    const order = Array.from(keys.keys()).sort((a, b) => keys[b]! - keys[a]!);
    experts.set(order.slice(0, s.top_k), t * s.top_k);
    const shares = Array.from({ length: s.top_k }, () => uniform() + 0.5);
    const sum = shares.reduce((a, b) => a + b, 0);
    for (const [k, share] of shares.entries()) weights[t * s.top_k + k] = share / sum;
  }
  return { experts, weights };
}
