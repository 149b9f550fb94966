import { logitsOf, type Model } from '../models/family.js';
import type { KvCache } from '../nn/cache.js';
import type { Layout } from '../nn/layout.js';
import { type SampleInputs, sampleFrom, sampleInputs } from '../ops/sample.js';
import { type Device, from, named, permanent, Repeated, readLater, type Tensor, tensorsIn } from '../tensor/index.js';
import type { PagePool } from './pool.js';

/** One new token of each running sequence: what a step of pure generation works on. Arrays have one entry a sequence. */
export interface DecodeBatch {
  readonly tokens: readonly number[];
  readonly positions: readonly number[];
  readonly slots: readonly number[];
  /** Pages of each sequence. */
  readonly pages: readonly (readonly number[])[];
  /** [B,4] */
  readonly settings: Float32Array;
  /** [B] */
  readonly topK: Int32Array;
  /** [B,2] */
  readonly seeds: Int32Array;
}

/** The same padded to a bucket, as arrays in the order of Inputs. Rows of padding write no key and reach no expert. */
interface Padded {
  readonly tokens: Int32Array; // [R]
  readonly positions: Int32Array;
  readonly active: Int32Array;
  readonly slots: Int32Array;
  readonly lengths: Int32Array;
  readonly pages: Int32Array; // [R,W]
  readonly settings: Float32Array;
  readonly topK: Int32Array;
  readonly seeds: Int32Array;
}

type Inputs = { readonly [name in keyof Padded]: Tensor } & { readonly sequence: Tensor };

interface Bucket {
  readonly inputs: Inputs;
  readonly work: Repeated<{ readonly ids: Tensor; readonly logprobs: Tensor }>;
}

/**
 * Generation steps recorded once per bucket (numbers of sequences and of pages, rounded up) and launched as a whole: a step is
 * then a few small copies and one launch.
 */
export class DecodeGraphs {
  private readonly buckets = new Map<string, Bucket>();

  constructor(
    private readonly model: Model,
    private readonly device: Device,
    private readonly pool: PagePool,
  ) {}

  /** Takes every sequence one token further. */
  run(batch: DecodeBatch): { ids: Int32Array; logprobs: Float32Array } {
    const rows = this.device.kind === 'cpu' ? roundUpALittle(batch.tokens.length) : roundUp(batch.tokens.length);
    const width = roundUp(Math.max(...batch.pages.map((p) => p.length)));
    const padded = pad(batch, rows, width);
    const key = `${rows} x ${width}`;
    const known = this.buckets.get(key);
    const bucket = known ?? this.open(padded, rows, width);
    if (known) for (const name of names(padded)) known.inputs[name].write(padded[name]);
    else this.buckets.set(key, bucket);
    const { ids, logprobs } = bucket.work.run(() => this.step(bucket.inputs, rows));
    const [readIds, readLogprobs] = [readLater(ids), readLater(logprobs)];
    const count = batch.tokens.length;
    return {
      ids: (readIds() as Int32Array).subarray(0, count),
      logprobs: (readLogprobs() as Float32Array).subarray(0, count),
    };
  }

  dispose(): void {
    for (const { inputs, work } of this.buckets.values()) {
      work.dispose();
      for (const tensor of tensorsIn(inputs)) tensor.dispose();
    }
    this.buckets.clear();
  }

  private open(padded: Padded, rows: number, width: number): Bucket {
    const { device } = this;
    const put = (values: Int32Array, shape: number[] = [rows]) => from(values, shape, { device });
    const inputs = permanent(() => ({
      tokens: put(padded.tokens),
      positions: put(padded.positions),
      active: put(padded.active),
      slots: put(padded.slots),
      lengths: put(padded.lengths),
      pages: put(padded.pages, [rows, width]),
      sequence: put(Int32Array.from({ length: rows }, (_, r) => r)),
      ...(sampleInputs(padded, device) as Required<SampleInputs>),
    }));
    return { inputs, work: new Repeated(device) };
  }

  private step(inputs: Inputs, rows: number) {
    const { family, config, weights } = this.model;
    const { slots, pages, sequence, lengths, positions, active } = inputs;
    const cache: KvCache = { layer: this.pool.layer, slots, pages, sequence, lengths };
    const layout: Layout = { rows: 1, length: rows, positions, ranges: undefined, active, segments: undefined };
    const hidden = family.forward(weights, config, inputs.tokens, { layout, losses: [], cache }); // [R,C]
    const logits = named('head', () => logitsOf(this.model, hidden)); // [R,V]
    return sampleFrom(logits, inputs);
  }
}

const names = (padded: Padded) => Object.keys(padded) as (keyof Padded)[];

const roundUp = (count: number): number => 2 ** Math.ceil(Math.log2(count));

/** To four bits, so by an eighth at most: a CPU computes the rows of padding, which cost a GPU nothing. */
function roundUpALittle(count: number): number {
  const unit = Math.max(2 ** (Math.floor(Math.log2(count)) - 3), 1);
  return Math.ceil(count / unit) * unit;
}

function pad(b: DecodeBatch, rows: number, width: number): Padded {
  const count = b.tokens.length;
  const ints = (values: readonly number[], filler: number) => {
    const out = new Int32Array(rows).fill(filler);
    out.set(values);
    return out;
  };
  const pages = new Int32Array(rows * width);
  b.pages.forEach((list, r) => {
    pages.set(list, r * width);
  });
  const wider = <A extends Int32Array | Float32Array>(values: A, each: number): A => {
    const out = new (values.constructor as new (length: number) => A)(rows * each);
    out.set(values);
    return out;
  };
  return {
    tokens: ints(b.tokens, 0),
    positions: ints(b.positions, 0),
    active: ints(new Array<number>(count).fill(1), 0),
    slots: ints(b.slots, -1),
    lengths: ints(
      b.positions.map((p) => p + 1),
      1, // padding looks at one key of page 0, whose value nobody uses
    ),
    pages,
    settings: wider(b.settings, 4),
    topK: wider(b.topK, 1),
    seeds: wider(b.seeds, 2),
  };
}
