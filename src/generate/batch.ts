import { logitsOf, type Model } from '../models/family.js';
import type { KvCache } from '../nn/cache.js';
import type { Layout } from '../nn/layout.js';
import { embedding } from '../ops/embedding.js';
import { sample } from '../ops/sample.js';
import { from, readLater, type Tensor } from '../tensor/index.js';
import type { DecodeGraphs } from './decode.js';
import type { PagePool } from './pool.js';
import { lengthOf, type Sequence, slotsFor, tokenAt } from './sequence.js';

/** What a step gives: one token per completion, and log softmax(logits / temperature) of it. */
export interface Sampled {
  readonly ids: Int32Array;
  readonly logprobs: Float32Array;
}

/** A completion that gets a token: from which row of the hidden states, and as which of the sequence's copies. */
interface Pick {
  readonly s: Sequence;
  readonly row: number;
  readonly copy: number;
}

/** One forward pass over all uncached tokens, and one sampled token per completion. */
export function forwardBatch(model: Model, batch: readonly Sequence[], pool: PagePool): Sampled {
  const tokens: number[] = [];
  const positions: number[] = [];
  const slots: number[] = [];
  const sequence: number[] = [];
  const picks: Pick[] = [];
  batch.forEach((s, b) => {
    const length = lengthOf(s);
    const isFirst = s.cached < s.prompt.length;
    for (const slot of slotsFor(s, length - s.cached, pool)) slots.push(slot); // a long prompt overflows a spread
    for (let i = s.cached; i < length; i++) {
      tokens.push(tokenAt(s, i));
      positions.push(i);
      sequence.push(b);
    }
    s.cached = length;
    for (let copy = 0; copy < (isFirst ? s.options.count : 1); copy++)
      picks.push({ s, row: tokens.length - 1, copy: s.index + copy });
  });
  const { family, config, weights } = model;
  const { device } = family.head(weights).weight;
  const ints = (values: readonly number[], shape?: number[]): Tensor => from(new Int32Array(values), shape, { device });
  const width = Math.max(...batch.map((s) => s.pages.length));
  const cache: KvCache = {
    layer: pool.layer,
    slots: ints(slots),
    pages: ints(
      batch.flatMap((s) => [...s.pages, ...new Array<number>(width - s.pages.length).fill(0)]),
      [batch.length, width],
    ),
    sequence: ints(sequence),
    lengths: ints(positions.map((p) => p + 1)),
  };
  const layout: Layout = {
    rows: 1,
    length: tokens.length,
    positions: ints(positions),
    ranges: undefined,
    active: undefined,
    segments: undefined,
  };
  const hidden = family.forward(weights, config, ints(tokens), { layout, losses: [], cache }); // [T,C]
  const every = tokens.length === picks.length && picks.every(({ row }, i) => row === i);
  const last = every ? hidden : embedding(hidden, ints(picks.map((p) => p.row)));
  const logits = logitsOf(model, last); // [picks, V]
  return sampleTokens(logits, picks);
}

/** The same for sequences of which each has one uncached token, and whose penalties are off, as one recorded step. */
export function launchBatch(graphs: DecodeGraphs, batch: readonly Sequence[], pool: PagePool): Sampled {
  const slots = batch.map((s) => slotsFor(s, 1, pool)[0]!);
  const positions = batch.map((s) => s.cached);
  for (const s of batch) s.cached = lengthOf(s);
  return graphs.run({
    tokens: batch.map((s, i) => tokenAt(s, positions[i]!)),
    positions,
    slots,
    pages: batch.map((s) => s.pages),
    ...settingsOf(batch.map((s) => ({ s, copy: s.index }))),
  });
}

function sampleTokens(logits: Tensor, picks: readonly Pick[]): Sampled {
  const penalised = picks.some(({ s }) => s.options.repetitionPenalty !== 1);
  const chosen = sample(logits, { ...settingsOf(picks), ...(penalised && { history: histories(picks) }) });
  const [ids, logprobs] = [readLater(chosen.ids), readLater(chosen.logprobs)];
  return { ids: ids() as Int32Array, logprobs: logprobs() as Float32Array };
}

/** How each pick is sampled. */
function settingsOf(picks: readonly Omit<Pick, 'row'>[]) {
  return {
    settings: Float32Array.from(
      picks.flatMap(({ s: { options: o } }) => [o.temperature, o.topP, o.minP, o.repetitionPenalty]),
    ),
    topK: Int32Array.from(picks, ({ s }) => s.options.topK),
    seeds: Int32Array.from(picks.flatMap(({ s, copy }) => [s.options.seed + copy, lengthOf(s)])),
  };
}

/** Ids seen so far, one row per pick, padded with -1. */
function histories(picks: readonly Pick[]): { ids: Int32Array; width: number } {
  const width = Math.max(...picks.map(({ s }) => lengthOf(s)));
  const ids = new Int32Array(picks.length * width).fill(-1);
  picks.forEach(({ s }, r) => {
    for (let i = 0; i < lengthOf(s); i++) ids[r * width + i] = tokenAt(s, i);
  });
  return { ids, width };
}
