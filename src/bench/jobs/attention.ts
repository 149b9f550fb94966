import * as native from '../../native.gen.js';
import { makeLayout } from '../../nn/layout.js';
import { empty, from } from '../../tensor/index.js';
import { type Job, shortWork } from '../case.js';
import { attentionFlops } from '../counting.js';
import { draw, into, none } from '../inputs.js';

/** Causal attention of `batch` sequences, forward and backward, with the rows of a model: [batch*seq, heads, channels]. */
export const attention: Job<'attention'> = {
  name: 'attention',
  rows: ['attention_forward', 'attention_backward'],
  repetitions: shortWork,
  run(c) {
    const { batch, heads, seq, qk, v: width, dtype } = c.shape;
    const { device } = c;
    const on = { dtype, device };
    const rows = batch * seq;
    const q = draw([rows, heads, qk], on);
    const k = draw([rows, heads, qk], on);
    const v = draw([rows, heads, width], on);
    const o = empty([rows, heads, width], on);
    const lse = empty([rows, heads], { device });
    const ranges = makeLayout({ rows: batch, length: seq, causal: true, device }).ranges!;
    const scale = qk ** -0.5;
    const forward = () => native.attentionForward(o, lse, q, k, v, undefined, ranges, scale);
    const metric = 'tflop_per_s';
    c.time({ job: 'attention_forward', metric, work: 1e-12 * attentionFlops(c.shape, 'forward') }, forward);
    forward();
    const dout = draw([rows, heads, width], on);
    const dq = empty(q.shape, on);
    const dk = empty(k.shape, on);
    const dv = empty(v.shape, on);
    c.time({ job: 'attention_backward', metric, work: 1e-12 * attentionFlops(c.shape, 'backward') }, () =>
      native.attentionBackward(into(dq), into(dk), into(dv), none, dout, q, k, v, undefined, o, lse, ranges, scale),
    );
  },
};

/** One new query a sequence against a paged latent cache that all heads share: bound by reading the cache once. */
export const mlaDecode: Job<'mla_decode'> = {
  name: 'mla_decode',
  repetitions: shortWork,
  run(c) {
    const { batch, heads, kv, latent, rope, dtype } = c.shape;
    const { device } = c;
    const on = { dtype, device };
    const page = Math.min(64, kv);
    const width = Math.ceil(kv / page);
    const ints = (values: number[], shape: number[]) => from(Int32Array.from(values), shape, { device });
    const count = (n: number) => Array.from({ length: n }, (_, i) => i);
    const cache = draw([batch * width, page, latent + rope], on);
    const q = draw([batch, heads, latent + rope], on);
    const o = empty([batch, heads, latent], on);
    const pages = ints(count(batch * width), [batch, width]);
    const sequence = ints(count(batch), [batch]);
    const lengths = ints(new Array<number>(batch).fill(kv), [batch]);
    const bytes = batch * kv * (latent + rope) * (dtype === 'bf16' ? 2 : 4);
    const tflop = 2e-12 * batch * kv * heads * (2 * latent + rope);
    c.time({ metric: 'gb_per_s', work: 1e-9 * bytes, further: () => ({ tflop: Number(tflop.toPrecision(4)) }) }, () =>
      native.mlaDecode(o, q, cache, pages, sequence, lengths, (128 + rope) ** -0.5),
    );
  },
};
