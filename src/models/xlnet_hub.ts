import { TrainMoeError } from '../errors.js';
import type { Param } from '../nn/param.js';
import { endingOf, type HubPiece, inLayer, wholePiece } from './family.js';
import { activationFromHub, activationToHub, refuseUntied } from './transformer.js';
import type { XlnetConfig } from './xlnet.js';

type Json = Readonly<Record<string, unknown>>;

const ARCHITECTURE = 'XLNetLMHeadModel';

/** @throws TrainMoeError `bad-config` for other heads than that of words, which is the embedding, and head sizes that do not divide the width */
export function xlnetFromHub(h: Json): XlnetConfig {
  const name = String((h.architectures as readonly unknown[] | undefined)?.[0] ?? ARCHITECTURE);
  if (name !== ARCHITECTURE)
    throw new TrainMoeError(
      'bad-config',
      `config.json names the architecture "${name}"; of XLNet only ${ARCHITECTURE} is read, which predicts words.`,
    );
  refuseUntied(h);
  const [hidden, heads] = [Number(h.d_model), Number(h.n_head)];
  if (h.d_head !== undefined && Number(h.d_head) * heads !== hidden)
    throw new TrainMoeError(
      'bad-config',
      `config.json has d_head ${h.d_head} and n_head ${heads}; their product must be d_model, ${hidden}.`,
    );
  return {
    vocabulary: Number(h.vocab_size),
    hidden,
    layers: Number(h.n_layer),
    heads,
    inner: Number(h.d_inner),
    activation: activationFromHub(h.ff_activation ?? 'gelu'),
    eps: Number(h.layer_norm_eps ?? 1e-12),
    causal: h.attn_type === 'uni',
    sameLength: Boolean(h.same_length),
    clampLength: Math.max(0, Number(h.clamp_len ?? 0)),
    reversedHalf: Boolean(h.bi_data),
    remembers: h.use_mems_eval !== false,
    memoryLength: Number(h.mem_len === undefined ? 512 : h.mem_len), // null: all
    reuseLength: Number(h.reuse_len ?? 0),
    deviation: Number(h.initializer_range ?? 0.02),
  };
}

export const xlnetToHub = (c: XlnetConfig): Record<string, unknown> => ({
  architectures: [ARCHITECTURE],
  model_type: 'xlnet',
  vocab_size: c.vocabulary,
  d_model: c.hidden,
  n_layer: c.layers,
  n_head: c.heads,
  d_head: c.hidden / c.heads,
  d_inner: c.inner,
  ff_activation: activationToHub(c.activation),
  layer_norm_eps: c.eps,
  attn_type: c.causal ? 'uni' : 'bi',
  same_length: c.sameLength,
  clamp_len: c.clampLength || -1,
  bi_data: c.reversedHalf,
  use_mems_eval: c.remembers,
  mem_len: c.memoryLength || null,
  reuse_len: c.reuseLength || null,
  initializer_range: c.deviation,
  untie_r: true,
  tie_word_embeddings: true,
  pad_token_id: 5,
  bos_token_id: 1,
  eos_token_id: 2,
});

/** Matrices of a layer's attention, [C,H,D] on disk. */
const MATRICES: Readonly<Record<string, string>> = { q: 'q', distance: 'r', out: 'o' };
/** What is added to its queries, [H,D], and its two types, [2,H,D]. */
const SMALL: Readonly<Record<string, string>> = {
  contentBias: 'r_w_bias',
  distanceBias: 'r_r_bias',
  typeBias: 'r_s_bias',
  types: 'seg_embed',
};

const FEED: Readonly<Record<string, string>> = { up: 'layer_1', down: 'layer_2' };

export function xlnetPieces({ hidden, heads }: XlnetConfig, path: string, p: Param): readonly HubPiece[] {
  if (path === 'embed') return wholePiece('transformer.word_embedding.weight', p);
  if (path === 'target') return [{ name: 'transformer.mask_emb', shape: [1, 1, hidden], offset: 0 }];
  if (path === 'headBias') return wholePiece('lm_loss.bias', p);
  const [layer, rest] = inLayer(path)!;
  const [part, name] = rest.split('.') as [string, string];
  const at = `transformer.layer.${layer}`;
  const ending = endingOf(name);
  if (part === 'attendNorm') return wholePiece(`${at}.rel_attn.layer_norm.${ending}`, p);
  if (part === 'feedNorm') return wholePiece(`${at}.ff.layer_norm.${ending}`, p);
  if (part === 'feed') return wholePiece(`${at}.ff.${FEED[name.replace('Bias', '')]}.${ending}`, p);
  const ofHeads = [heads, hidden / heads];
  const one = (own: string) => `${at}.rel_attn.${own}`;
  if (SMALL[name]) return [{ name: one(SMALL[name]), shape: name === 'types' ? [2, ...ofHeads] : ofHeads, offset: 0 }];
  const shape = [hidden, ...ofHeads];
  if (name === 'kv')
    return ['k', 'v'].map((own, i) => ({ name: one(own), shape, offset: i * hidden * hidden, transposed: true }));
  return [{ name: one(MATRICES[name]!), shape, offset: 0, transposed: name !== 'out' }];
}

/** Files of the base model alone have no prefix. */
export const xlnetOldNames = (name: string): readonly string[] => [name.replace(/^transformer\./, '')];
