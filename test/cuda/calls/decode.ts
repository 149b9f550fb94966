import * as native from '../../../src/native.gen.js';
import type { Tensor } from '../../../src/tensor/index.js';
import { window } from '../../../src/tensor/tensor.js';
import { added, type Bench, type Call, fresh } from './bench.js';

/* Attention of new tokens over pages of keys and values, and over pages of latents. */

/** Rows of three sequences over pages of 16 keys, in any order. */
function paged(b: Bench, lengths: readonly number[], pageKeys: number) {
  const perSequence = Math.ceil(Math.max(...lengths) / pageKeys);
  const count = lengths.length;
  return {
    pages: b.ints([count, perSequence], (i) => (i * 7 + 3) % (count * perSequence)),
    sequence: b.ints([count], (i) => (i + 1) % count),
    lengths: b.ints([count], (i) => lengths[i]!),
    total: count * perSequence,
  };
}

function decodeCall(
  name: string,
  heads: number,
  groups: number,
  depth: number,
  values: number,
  lengths: number[],
  shared = 0,
): Call {
  return {
    name: `attention_decode: ${name}`,
    tolerance: 2e-2,
    run: (b) => {
      const p = paged(b, lengths, 16);
      const q = b.draw([lengths.length, heads, depth + shared], 1);
      const rest = shared > 0 ? b.draw([p.total, 16, shared], 4) : undefined;
      const k = b.draw([p.total, 16, groups, depth], 2);
      const v = b.draw([p.total, 16, groups, values], 3);
      const o = b.out([lengths.length, heads, values]);
      native.attentionDecode(o, q, k, v, rest, p.pages, p.sequence, p.lengths, 1 / Math.sqrt(depth));
      return [o];
    },
  };
}

function latentCall(name: string, heads: number, depth: number, latent: number, lengths: number[]): Call {
  return {
    name: `mla_decode: ${name}`,
    tolerance: 2e-2,
    run: (b) => {
      const p = paged(b, lengths, 16);
      const q = b.draw([lengths.length, heads, depth], 1);
      const cache = b.draw([p.total, 16, depth], 2);
      const o = b.out([lengths.length, heads, latent]);
      native.mlaDecode(o, q, cache, p.pages, p.sequence, p.lengths, 1 / Math.sqrt(depth));
      return [o];
    },
  };
}

/** Rows of up to several spans, in batches of which a block takes more or fewer spans at once: their bits must not differ. */
function batchedDecodeCall(heads: number, lengths: readonly number[]): Call {
  const [depth, latent, count] = [48, 32, lengths.length];
  return {
    name: `mla_decode: ${heads} heads, rows alone, in fours and all at once`,
    tolerance: 2e-2,
    run: (b) => {
      const p = paged(b, lengths, 16);
      const q = b.draw([count, heads, depth], 1);
      const cache = b.draw([p.total, 16, depth], 2);
      const decoded = (rows: number) => {
        const o = b.out([count, heads, latent]);
        const part = (t: Tensor, first: number) =>
          window(t, first * t.stride[0]!, [Math.min(rows, count - first), ...t.shape.slice(1)], t.stride);
        for (let r = 0; r < count; r += rows) {
          const [sequence, length] = [part(p.sequence, r), part(p.lengths, r)];
          native.mlaDecode(part(o, r), part(q, r), cache, p.pages, sequence, length, 0.2);
        }
        return o;
      };
      const all = decoded(count);
      const differences = [1, 4].map((rows) => {
        const [other, difference] = [decoded(rows), b.out(all.shape)];
        native.axpy(added(other), all, -1);
        native.axpy(fresh(difference), other, 1e6);
        return difference;
      });
      return [all, ...differences];
    },
  };
}

/** Completions of two prompts, which share pages of 64 keys, and one prompt's own tokens, as neighbouring rows. */
function sharedPagesCall(name: string, heads: number, groups: number, depth: number, values: number): Call {
  const [perSequence, keys] = [13, 64];
  const prompt = [0, 0, 0, 0, 9, 9, 0, 9];
  const sequence = [0, 1, 2, 3, 4, 5, 6, 7, 7, 7];
  const lengths = [700, 800, 513, 511, 600, 832, 700, 5, 6, 540];
  return {
    name: `shared pages: ${name}`,
    tolerance: 2e-2,
    run: (b) => {
      // Sequences of a prompt share its first nine pages and have four of their own.
      const pages = b.ints([prompt.length, perSequence], (i) => {
        const [s, p] = [Math.floor(i / perSequence), i % perSequence] as const;
        return p < 9 ? prompt[s]! + p : 18 + s * 4 + p - 9;
      });
      const [rowOf, length] = [b.ints([10], (i) => sequence[i]!), b.ints([10], (i) => lengths[i]!)];
      const [q, o] = [b.draw([10, heads, depth], 1), b.out([10, heads, values])];
      const k = b.draw([50, keys, groups, depth], 2);
      const scale = 1 / Math.sqrt(depth);
      native.attentionDecode(o, q, k, b.draw([50, keys, groups, values], 3), undefined, pages, rowOf, length, scale);
      if (groups > 1) return [o];
      const latent = b.out([10, heads, values]);
      native.mlaDecode(latent, q, b.draw([50, keys, depth], 4), pages, rowOf, length, scale);
      return [o, latent];
    },
  };
}

export const decodeCalls: readonly Call[] = [
  decodeCall('grouped heads, two spans', 6, 2, 64, 64, [700, 1, 130]),
  decodeCall('many heads to a group', 40, 1, 128, 96, [33, 64, 65]),
  decodeCall('odd channels', 3, 3, 20, 12, [17, 40, 5]),
  decodeCall('channels that all heads share', 6, 3, 48, 32, [520, 1, 65], 16),
  decodeCall('odd channels, some that all heads share', 4, 2, 12, 12, [17, 40, 5], 7),
  sharedPagesCall('three heads to a group', 6, 2, 32, 32),
  sharedPagesCall('one group, also latent', 4, 1, 48, 32),
  latentCall('576/512', 20, 576, 512, [70, 16]),
  latentCall('16 heads of 576/512', 16, 576, 512, [70, 16, 1100]),
  latentCall('48/32', 4, 48, 32, [1, 64, 513]),
  latentCall('many heads of 208/144', 48, 208, 144, [77, 1, 33]),
  batchedDecodeCall(12, [2100, 1, 513, 512, 1024, 1025, 1600, 0, 33, 1536, 2049, 7, 5000, 600, 4097, 4096]),
  batchedDecodeCall(24, [1537, 700, 0, 2200, 1, 512]),
];
