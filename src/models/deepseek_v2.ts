import { z } from 'zod';
import { type DecoderWeights, decoder } from '../nn/decoder.js';
import { ropeTableFor } from '../nn/rope_table.js';
import { decoderPieces, decoderSpec } from './decoder.js';
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
import type { Family } from './family.js';

/** DeepSeek-V2, arXiv:2405.04434: softmax gate, device-limited routing, three balance losses. */
export const deepseekV2Schema = z.strictObject({
  ...deepseekFields,
  expertBalance: z.number().nonnegative().describe('alpha 1'),
  deviceBalance: z.number().nonnegative().describe('alpha 2'),
  communicationBalance: z.number().nonnegative().describe('alpha 3'),
});

/** What a DeepSeek-V2 model is made of. */
export type DeepseekV2Config = z.infer<typeof deepseekV2Schema>;
type Weights = DecoderWeights<DeepseekBlock>;

const yarn = {
  factor: 40,
  original: 4096,
  betaFast: 32,
  betaSlow: 1,
  mscale: Math.SQRT1_2,
  mscaleAllDim: Math.SQRT1_2,
};
const common = {
  vocabulary: 102_400,
  nope: 128,
  ropeSize: 64,
  value: 128,
  kvRank: 512,
  denseLayers: 1,
  normalize: false,
  eps: 1e-6,
  tied: false,
  deviation: 0.006,
};

export const deepseekV2Presets = {
  'deepseek-v2-lite': {
    ...common,
    hidden: 2048,
    layers: 27,
    heads: 16,
    queryRank: null,
    inner: 10_944,
    expertInner: 1408,
    experts: 64,
    active: 6,
    shared: 2,
    groups: 1,
    topGroups: 1,
    routedScale: 1,
    rope: { theta: 10_000, yarn },
    context: 163_840,
    expertBalance: 0.001,
    deviceBalance: 0,
    communicationBalance: 0,
  },
  'deepseek-v2': {
    ...common,
    hidden: 5120,
    layers: 60,
    heads: 128,
    queryRank: 1536,
    inner: 12_288,
    expertInner: 1536,
    experts: 160,
    active: 6,
    shared: 2,
    groups: 8,
    topGroups: 3,
    routedScale: 16,
    rope: { theta: 10_000, yarn },
    context: 163_840,
    expertBalance: 0.003,
    deviceBalance: 0.05,
    communicationBalance: 0.02,
  },
} satisfies Record<string, DeepseekV2Config>;

const gateOf = (c: DeepseekV2Config): Gate => ({
  gate: 'softmax',
  groupBest: 1,
  correctionBias: false,
  balance: { expert: c.expertBalance, device: c.deviceBalance, communication: c.communicationBalance },
});

const specs = (c: DeepseekV2Config) =>
  decoderSpec(
    c,
    Array.from({ length: c.layers }, (_, i) => blockSpec(c, gateOf(c), i < c.denseLayers)),
  );

/** Latent attention, and experts behind a softmax. DeepSeek-V2, arXiv:2405.04434. */
export const deepseekV2: Family<DeepseekV2Config, Weights> = {
  name: 'deepseek-v2',
  modelTypes: ['deepseek_v2'],
  schema: deepseekV2Schema,
  presets: deepseekV2Presets,
  specs,
  forward(w, c, ids, run) {
    const table = ropeTableFor(c.rope, c.ropeSize, c.context, ids.device);
    return decoder(w, c.eps, (b, x, i) => deepseekBlock(b, c, gateOf(c), table, x, i, run), ids, run);
  },
  head: (w) => ({ weight: w.head ?? w.embed }),
  cacheShape,
  layers: (c) => c.layers,
  vocabulary: (c) => c.vocabulary,
  routedExperts: (c) => Array.from({ length: c.layers }, (_, i) => (i < c.denseLayers ? 0 : c.experts)),
  activeParameters: (c) => activeParameters(c, gateOf(c)),
  attentionWidth: (c) => c.layers * c.heads * (c.nope + c.ropeSize + c.value),
  fromHub(h) {
    const grouped = h.topk_method === 'group_limited_greedy';
    return {
      ...sharedFromHub(h),
      ...(grouped ? {} : { groups: 1, topGroups: 1 }),
      normalize: false, // transformers ignores norm_topk_prob for V2, and released files say false
      expertBalance: Number(h.aux_loss_alpha ?? 0.001),
      deviceBalance: Number(h.device_aux_loss_alpha ?? 0),
      communicationBalance: Number(h.communication_aux_loss_alpha ?? 0),
    };
  },
  toHub: (c) => ({
    architectures: ['DeepseekV2ForCausalLM'],
    model_type: 'deepseek_v2',
    ...sharedToHub(c),
    topk_method: c.groups > 1 ? 'group_limited_greedy' : 'greedy',
    scoring_func: 'softmax',
    aux_loss_alpha: c.expertBalance,
    device_aux_loss_alpha: c.deviceBalance, // ours: released files say nothing of these two
    communication_aux_loss_alpha: c.communicationBalance,
    seq_aux: true,
    ep_size: 1,
  }),
  hubPieces: (c, path, p) => decoderPieces(path, p, (at, rest) => insideBlock(c, at, rest, p)),
};
