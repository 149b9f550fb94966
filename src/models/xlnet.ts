import { z } from 'zod';
import { attendRelative, attendRelativeSpec, distanceTable, relativeKeys } from '../nn/attend_relative.js';
import { postNormBlock } from '../nn/block.js';
import { mlp, mlpSpec } from '../nn/mlp.js';
import { layerNormSpec } from '../nn/norm.js';
import { countParameters, matrix, vector, type Weights } from '../nn/param.js';
import { makeRelativeLayout, type Relative, type Sight } from '../nn/relative_layout.js';
import type { Run } from '../nn/run.js';
import { embedding } from '../ops/embedding.js';
import { checkpoint, named, recording, scope, type Tensor, zeros } from '../tensor/index.js';
import type { Family } from './family.js';
import { activationSchema, transformerFields, wholeHeads, widthOfAttention } from './transformer.js';
import { xlnetFromHub, xlnetOldNames, xlnetPieces, xlnetToHub } from './xlnet_hub.js';

/** XLNet, which predicts words in any order. Yang et al., arXiv:1906.08237. */
export const xlnetSchema = wholeHeads(
  z.strictObject({
    ...transformerFields,
    activation: activationSchema,
    eps: z.number().positive(),
    causal: z.boolean().describe('tokens see no later ones'),
    sameLength: z.boolean().describe('causal tokens see equally many keys'),
    clampLength: z.int().nonnegative().describe('distances beyond it count as it; 0: none do'),
    reversedHalf: z.boolean().describe('the later half of a batch runs backwards'),
    remembers: z.boolean().describe('a pass gives the memory for the next'),
    memoryLength: z.int().nonnegative().describe('tokens that are remembered at most; 0: all'),
    reuseLength: z.int().nonnegative().describe('first tokens of a segment that are remembered; 0: all'),
  }),
);

/** What an XLNet is made of. */
export type XlnetConfig = z.infer<typeof xlnetSchema>;

const published = {
  vocabulary: 32_000,
  activation: 'gelu',
  eps: 1e-12,
  causal: false,
  sameLength: false,
  clampLength: 0,
  reversedHalf: false,
  remembers: true,
  memoryLength: 0,
  reuseLength: 0,
  deviation: 0.02,
} as const;

const sized = (layers: number, hidden: number, heads: number): XlnetConfig => ({
  ...published,
  layers,
  hidden,
  heads,
  inner: 4 * hidden,
});

export const xlnetPresets = {
  'xlnet-base': sized(12, 768, 12),
  'xlnet-large': sized(24, 1024, 16),
  'xlnet-nano': { ...sized(6, 256, 4), vocabulary: 4096, memoryLength: 192 },
} satisfies Record<string, XlnetConfig>;

const attentionOf = ({ hidden, heads }: XlnetConfig) => ({ hidden, heads, headSize: hidden / heads });

const layerSpec = (c: XlnetConfig) => ({
  attendNorm: layerNormSpec(c.hidden),
  attend: attendRelativeSpec(attentionOf(c), c.deviation),
  feedNorm: layerNormSpec(c.hidden),
  feed: mlpSpec(c.hidden, c.inner, c.deviation),
});

const specs = (c: XlnetConfig) => ({
  embed: matrix([c.vocabulary, c.hidden], c.deviation, 'vocabulary'),
  /** Where the second stream begins, whatever stands there. */
  target: matrix([1, c.hidden], c.deviation, 'replicated', { decay: false }),
  layers: Array.from({ length: c.layers }, () => layerSpec(c)),
  headBias: vector(c.vocabulary, 0),
});

/** Weights of a layer. */
export type XlnetBlock = Weights<ReturnType<typeof layerSpec>>;

/** `target` [1,C], `headBias` [V] */
type XlnetWeights = Weights<ReturnType<typeof specs>>;

/** Where the tokens of a run stand, if nobody says more than a layout does. */
function plainly(c: XlnetConfig, { layout, types }: Run, device: Tensor['device']): Relative {
  const { rows, length, active } = layout;
  const pass = { rows, length, memory: 0, mask: active?.readInts(), types: types?.readInts() };
  return { layout: makeRelativeLayout(c, pass, device) };
}

/**
 * ids [T] -> [T,C]; or, where the pass has targets, what the second stream makes of them, [rows*K,C]. Both streams have the same
 * weights and read the same keys, those of the first; a target's row does not see what stands at its place.
 */
function forward(w: XlnetWeights, c: XlnetConfig, ids: Tensor, run: Run): Tensor {
  const relative = run.relative ?? plainly(c, run, ids.device);
  const { content, query } = relative.layout;
  const words = named('embed', () => embedding(w.embed, ids)); // [T,C]
  const everyTarget = () => zeros([query!.offsets.size], { dtype: 'i32', device: ids.device });
  let streams: readonly Tensor[] = query ? [words, embedding(w.target, everyTarget())] : [words];
  const table = distanceTable(relative.layout, c.hidden, w.embed); // [P,C]
  if (!query) run.onHidden?.(0, words);
  w.layers.forEach((weights, i) => {
    relative.onLayer?.(i, streams[0]!);
    // Nobody reads the last layer's words where there are targets.
    const sights = query ? (i + 1 < c.layers ? [content, query] : [query]) : [content];
    const through = (...x: readonly Tensor[]) => layer(weights, c, x, { sights, table, index: i, run, relative });
    streams = named(`layer ${i}`, () => {
      if (run.recompute && recording()) return checkpoint(streams, through);
      return recording() ? through(...streams) : scope(() => through(...streams));
    });
    if (!query) run.onHidden?.(i + 1, streams[0]!);
  });
  return streams.at(-1)!;
}

interface Pass {
  /** Of the streams that are wanted, the last ones of those that come in. */
  readonly sights: readonly Sight[];
  readonly table: Tensor;
  readonly index: number;
  readonly run: Run;
  readonly relative: Relative;
}

/** One layer: words [T,C] and targets [rows*K,C] -> the streams of `sights`. */
function layer(w: XlnetBlock, c: XlnetConfig, streams: readonly Tensor[], pass: Pass): readonly Tensor[] {
  const { sights, table, index, run, relative } = pass;
  const attention = attentionOf(c);
  const about = { layout: relative.layout, rows: run.layout.rows };
  const keys = relativeKeys(w.attend, attention, streams[0]!, relative.memory?.[index], table, about);
  return streams.slice(-sights.length).map((x, i) =>
    postNormBlock(
      w,
      c.eps,
      (a, h) => attendRelative(a, attention, h, keys, sights[i]!),
      (f, h) => mlp(f, c.activation, h),
      x,
      index,
      run,
    ),
  );
}

/** Models with attention by distances, a memory of earlier segments and a second stream that predicts words without seeing them. */
export const xlnet: Family<XlnetConfig, XlnetWeights> = {
  name: 'xlnet',
  modelTypes: ['xlnet'],
  schema: xlnetSchema,
  presets: xlnetPresets,
  specs,
  forward,
  head: (w) => ({ weight: w.embed, bias: w.headBias }),
  recurrence: (c) => c,
  layers: (c) => c.layers,
  vocabulary: (c) => c.vocabulary,
  routedExperts: (c) => new Array<number>(c.layers).fill(0),
  activeParameters: (c) => countParameters(specs(c)) - c.hidden,
  attentionWidth: widthOfAttention,
  fromHub: xlnetFromHub,
  toHub: xlnetToHub,
  hubPieces: (c, path, p) => xlnetPieces(c, path, p),
  oldNames: xlnetOldNames,
};
