import { z } from 'zod';
import { type DecoderWeights, decoder } from '../nn/decoder.js';
import { matrix, type Param, vector } from '../nn/param.js';
import { ropeTableFor } from '../nn/rope_table.js';
import { concat } from '../ops/concat.js';
import { embedding } from '../ops/embedding.js';
import { linear } from '../ops/linear.js';
import { rmsnorm } from '../ops/rmsnorm.js';
import type { Tensor } from '../tensor/index.js';
import { blockPieces, decoderPieces, decoderSpec } from './decoder.js';
import {
  activeParameters,
  blockSpec,
  cacheShape,
  type DeepseekBlock,
  deepseekBlock,
  deepseekFields,
  type Gate,
  insideBlock,
  sharedFromHub,
  sharedToHub,
} from './deepseek.js';
import { type Family, type HubPiece, wholePiece } from './family.js';

/** DeepSeek-V3, arXiv:2412.19437: sigmoid gate, balance without an auxiliary loss, multi-token prediction. */
export const deepseekV3Schema = z.strictObject({
  ...deepseekFields,
  mtpLayers: z.int().min(0).max(1).describe('multi-token-prediction modules (depth 1 as published, or none)'),
  mtpWeight: z.number().nonnegative().describe('lambda of the extra loss: 0.3, later 0.1'),
  sequenceBalance: z.number().nonnegative().describe('alpha of the sequence-wise balance loss'),
  biasSpeed: z.number().nonnegative().describe('gamma: how far a router bias moves per step'),
});

/** What a DeepSeek-V3 model is made of. */
export type DeepseekV3Config = z.infer<typeof deepseekV3Schema>;

/** The module that predicts one token further: two norms, a projection of [embedding | hidden], a block, a norm. */
/** Weights of a multi-token prediction module. */
export interface NextWeights {
  readonly embedNorm: Tensor; // [C]
  readonly hiddenNorm: Tensor; // [C]
  readonly project: Tensor; // [C, 2C], embedding half first (as in checkpoints; the paper's equation has them swapped)
  readonly block: DeepseekBlock;
  readonly norm: Tensor; // [C]
}
type Weights = DecoderWeights<DeepseekBlock> & { readonly next?: readonly NextWeights[] };

const training = { mtpLayers: 1, mtpWeight: 0.3, sequenceBalance: 1e-4, biasSpeed: 0.001 };
/** Short runs of small models: router biases move faster than in a run of a million steps. */
const laptop = {
  ...training,
  biasSpeed: 0.005,
  queryRank: null,
  denseLayers: 1,
  groups: 1,
  topGroups: 1,
  normalize: true,
  routedScale: 2.5,
  eps: 1e-6,
  rope: { theta: 10_000, yarn: null },
  tied: false,
  deviation: 0.02,
  experts: 16,
  active: 4,
  shared: 1,
  context: 1024,
  mtpLayers: 0,
};

export const deepseekV3Presets = {
  'deepseek-v3': {
    ...training,
    vocabulary: 129_280,
    hidden: 7168,
    layers: 61,
    heads: 128,
    queryRank: 1536,
    kvRank: 512,
    nope: 128,
    ropeSize: 64,
    value: 128,
    inner: 18_432,
    expertInner: 2048,
    experts: 256,
    active: 8,
    shared: 1,
    denseLayers: 3,
    groups: 8,
    topGroups: 4,
    normalize: true,
    routedScale: 2.5,
    eps: 1e-6,
    rope: {
      theta: 10_000,
      yarn: { factor: 40, original: 4096, betaFast: 32, betaSlow: 1, mscale: 1, mscaleAllDim: 1 },
    },
    tied: false,
    context: 163_840,
    deviation: 0.006,
  },
  micro: {
    ...laptop,
    vocabulary: 2048,
    hidden: 128,
    layers: 6,
    heads: 4,
    kvRank: 32,
    nope: 16,
    ropeSize: 16,
    value: 16,
    inner: 512,
    expertInner: 128,
  },
  nano: {
    ...laptop,
    vocabulary: 4096,
    hidden: 256,
    layers: 6,
    heads: 4,
    kvRank: 64,
    nope: 32,
    ropeSize: 16,
    value: 32,
    inner: 1024,
    expertInner: 256,
  },
  mini: {
    ...laptop,
    vocabulary: 8192,
    hidden: 512,
    layers: 8,
    heads: 8,
    kvRank: 128,
    nope: 64,
    ropeSize: 32,
    value: 64,
    inner: 2048,
    expertInner: 512,
  },
} satisfies Record<string, DeepseekV3Config>;

const gateOf = (c: DeepseekV3Config): Gate => ({
  gate: 'sigmoid',
  groupBest: 2,
  correctionBias: true,
  balance: { expert: c.sequenceBalance, device: 0, communication: 0 },
});

const nextSpec = (c: DeepseekV3Config) => ({
  embedNorm: vector(c.hidden, 1),
  hiddenNorm: vector(c.hidden, 1),
  project: matrix([c.hidden, 2 * c.hidden], c.deviation),
  block: blockSpec(c, gateOf(c), false),
  norm: vector(c.hidden, 1),
});

const specs = (c: DeepseekV3Config) => ({
  ...decoderSpec(
    c,
    Array.from({ length: c.layers }, (_, i) => blockSpec(c, gateOf(c), i < c.denseLayers)),
  ),
  next: c.mtpLayers ? Array.from({ length: c.mtpLayers }, () => nextSpec(c)) : undefined,
});

/** Latent attention, experts behind sigmoids that a bias balances, multi-token prediction. DeepSeek-V3, arXiv:2412.19437. */
export const deepseekV3: Family<DeepseekV3Config, Weights> = {
  name: 'deepseek-v3',
  modelTypes: ['deepseek_v3'],
  schema: deepseekV3Schema,
  presets: deepseekV3Presets,
  specs,
  forward(w, c, ids, run) {
    const table = ropeTableFor(c.rope, c.ropeSize, c.context, ids.device);
    return decoder(w, c.eps, (b, x, i) => deepseekBlock(b, c, gateOf(c), table, x, i, run), ids, run);
  },
  head: (w) => ({ weight: w.head ?? w.embed }),
  /** Section 2.2: h' = M [norm(Emb(t+1)); norm(h)]; a block; a norm; the shared head then predicts token t+2. */
  predictNext(w, c, hidden, nextIds, run) {
    const m = w.next![0]!;
    const table = ropeTableFor(c.rope, c.ropeSize, c.context, hidden.device);
    const embedded = rmsnorm(embedding(w.embed, nextIds), m.embedNorm, c.eps); // [T,C]
    const joined = concat([embedded, rmsnorm(hidden, m.hiddenNorm, c.eps)]); // [T,2C]
    const x = deepseekBlock(m.block, c, gateOf(c), table, linear(joined, m.project), c.layers, run);
    return rmsnorm(x, m.norm, c.eps);
  },
  routerBiases: (w) =>
    [...w.layers, ...(w.next ?? []).map((m) => m.block)].flatMap(({ feed }, layer) =>
      'router' in feed && feed.bias ? [{ layer, bias: feed.bias }] : [],
    ),
  cacheShape,
  layers: (c) => c.layers,
  vocabulary: (c) => c.vocabulary,
  routedExperts: (c) => Array.from({ length: c.layers + c.mtpLayers }, (_, i) => (i < c.denseLayers ? 0 : c.experts)),
  activeParameters: (c) => activeParameters(c, gateOf(c)),
  attentionWidth: (c) => c.layers * c.heads * (c.nope + c.ropeSize + c.value),
  fromHub: (h) => ({
    ...sharedFromHub(h),
    normalize: Boolean(h.norm_topk_prob ?? true),
    mtpLayers: Number(h.num_nextn_predict_layers ?? 0),
    mtpWeight: Number(h.mtp_loss_scaling_factor ?? training.mtpWeight),
    sequenceBalance: Number(h.aux_loss_alpha ?? training.sequenceBalance),
    biasSpeed: Number(h.moe_router_bias_update_rate ?? training.biasSpeed),
  }),
  toHub: (c) => ({
    architectures: ['DeepseekV3ForCausalLM'],
    model_type: 'deepseek_v3',
    ...sharedToHub(c),
    topk_method: 'noaux_tc',
    scoring_func: 'sigmoid',
    num_nextn_predict_layers: c.mtpLayers,
    // How it is trained: the names of DeepSeek-V2 and, where it has none, of Megatron. Loaders without training ignore them.
    aux_loss_alpha: c.sequenceBalance,
    seq_aux: true,
    moe_router_bias_update_rate: c.biasSpeed,
    mtp_loss_scaling_factor: c.mtpWeight,
    rope_interleave: true,
    ep_size: 1,
  }),
  hubPieces,
};

function hubPieces(c: DeepseekV3Config, path: string, p: Param): readonly HubPiece[] {
  const block = (at: string, rest: string) => insideBlock(c, at, rest, p);
  const next = /^next\.(\d+)\.(.+)$/.exec(path) as unknown as [string, string, string] | null;
  if (!next) return decoderPieces(path, p, block);
  const [, index, rest] = next;
  const at = `model.layers.${c.layers + Number(index)}`;
  if (rest.startsWith('block.')) return blockPieces(at, rest.slice('block.'.length), p, block);
  const names: Readonly<Record<string, string>> = {
    embedNorm: 'enorm',
    hiddenNorm: 'hnorm',
    project: 'eh_proj',
    norm: 'shared_head.norm',
  };
  return wholePiece(`${at}.${names[rest]}.weight`, p);
}
