import { join } from 'node:path';
import { folderSink } from '../../src/hub/byte_sink.js';
import { writeModelFolder } from '../../src/hub/folder.js';
import { createModel, parametersOf } from '../../src/models/codec.js';
import { deepseekV3 } from '../../src/models/deepseek_v3.js';
import type { Family, Model } from '../../src/models/family.js';
import { modelContent } from '../../src/models/folder.js';
import { llama } from '../../src/models/llama.js';
import { AdamW } from '../../src/optim/adamw.js';
import { type GrpoInput, resolveGrpo } from '../../src/rl/config.js';
import type { GrpoParts } from '../../src/rl/grpo.js';
import { Reference } from '../../src/rl/reference.js';
import { policyEngine } from '../../src/rl/rollout.js';
import type { Grader, Question, QuestionSource } from '../../src/rl/sample.js';
import { type Device, device } from '../../src/tensor/index.js';
import { trainBpe } from '../../src/tokenizer/index.js';
import { tinyHub } from '../tiny_models.js';

export const VOCABULARY = 24;
/** The token whose share of a completion is the reward. */
export const WANTED = 7;
export const END = 1;

/** Models of two layers with random weights: a dense one, and one with latent attention and four experts. */
export function tinyModel(kind: 'dense' | 'experts', seed = 1, on: Device = device('cpu')): Model {
  const family = (kind === 'dense' ? llama : deepseekV3) as unknown as Family;
  const config = family.fromHub({ ...tinyHub(kind), vocab_size: VOCABULARY, max_position_embeddings: 128 });
  return createModel(family, config, { device: on, dtype: 'f32', seed, train: true });
}

/** Two-token prompts, different for every index. */
export const questions: QuestionSource = {
  name: 'pairs',
  train: (index) => question(index),
  test: (index) => (index < 4 ? question(1000 + index) : undefined),
};

const question = (index: number): Question => ({
  index,
  prompt: String(index),
  ids: [2 + (index % 20), 2 + (Math.floor(index / 20) % 20)],
});

/** Share of the wanted token in the completion. */
export const wantedShare: Grader = {
  rewards: [{ name: 'wanted', weight: 1 }],
  grade: async (samples) =>
    samples.map(({ ids }) => [{ value: ids.filter((id) => id === WANTED).length / ids.length }]),
};

/** Everything a step needs, around a tiny model; dispose() gives the memory back. */
export function tinyParts(
  settings: Partial<GrpoInput> = {},
  { kind = 'dense' as 'dense' | 'experts', grader = wantedShare, seed = 1, on = device('cpu') } = {},
): GrpoParts & { dispose(): void } {
  const config = resolveGrpo({ model: 'none', maxTokens: 8, lr: 1e-2, kl: 0, prompts: 4, group: 8, ...settings });
  const model = tinyModel(kind, seed, on);
  const trained = parametersOf(model)
    .filter(({ param }) => !param.buffer)
    .map(({ path, param, tensor }) => ({ name: path, tensor, decay: param.decay }));
  const optimizer = new AdamW(trained, { beta1: 0.9, beta2: 0.95, eps: 1e-8, decay: 0, moments: 'f32' }, on);
  const reference = config.kl > 0 ? new Reference(model, on) : undefined;
  const engine = policyEngine(model, on, config);
  return {
    model,
    optimizer,
    reference,
    engine,
    tokenizer: undefined,
    stopIds: [END],
    source: questions,
    grader,
    device: on,
    config,
    dispose() {
      engine.dispose();
      optimizer.dispose();
      reference?.dispose();
      for (const { tensor } of parametersOf(model)) tensor.dispose();
    },
  };
}

/** Writes a dense model of one layer with random weights and a tokenizer of bytes, as a folder that commands can load. */
export async function writeTinyModel(path: string, seed = 3): Promise<void> {
  async function* texts() {
    yield 'one and two are three\n';
  }
  const tokenizer = await trainBpe(texts(), { vocabSize: 258, specialTokens: ['<|endoftext|>'] });
  const family = llama as unknown as Family;
  const config = family.fromHub({
    vocab_size: tokenizer.vocabSize,
    hidden_size: 16,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    intermediate_size: 32,
    initializer_range: 0.08,
  });
  const model = createModel(family, config, { device: device('cpu'), dtype: 'f32', seed, train: false });
  writeModelFolder(folderSink(path), modelContent(model, { dtype: 'f32' }));
  tokenizer.save(join(path, 'tokenizer.json'));
  for (const { tensor } of parametersOf(model)) tensor.dispose();
}
