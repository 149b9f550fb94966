import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { folderSink } from '../../src/hub/byte_sink.js';
import { EMPTY_CONFIG, withValues } from '../../src/hub/config_json.js';
import { writeModelFolder } from '../../src/hub/folder.js';
import { createModel, disposeModel } from '../../src/models/codec.js';
import { configOfFolder, loadModel, modelContent } from '../../src/models/folder.js';
import { type BertConfig, families, presetNamed } from '../../src/models/index.js';
import { device } from '../../src/tensor/index.js';

/** The config.json of a preset, with other values; `undefined` leaves a key out. */
function read(preset: string, changes: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { family, config } = presetNamed(preset);
  return family.fromHub({ ...family.toHub(config), ...changes }) as Record<string, unknown>;
}

describe('config.json of released models', () => {
  const alwaysTied = families.filter(({ encoder, name }) => encoder || ['ctrl', 'xlnet'].includes(name));

  it.each(alwaysTied.map(({ name, presets }) => [name, Object.keys(presets)[0]!]))(
    'of %s is refused with a head that is not the embedding',
    (name, preset) => {
      expect(() => read(preset, { tie_word_embeddings: false })).toThrow(
        `config.json has tie_word_embeddings false; of ${name} models only those are read whose head is the embedding.`,
      );
      expect(read(preset, { tie_word_embeddings: undefined })).toEqual(read(preset, {}));
    },
  );

  it('of XLNet remembers all tokens where mem_len is null, and 512 where it says nothing, as transformers does', () => {
    expect(read('xlnet-base', { mem_len: null })).toMatchObject({ memoryLength: 0 });
    expect(read('xlnet-base', { mem_len: undefined })).toMatchObject({ memoryLength: 512 });
  });

  it('of an encoder that names no architecture is that of one for masked words', () => {
    for (const architectures of [undefined, null, []])
      expect(read('bert-tiny', { architectures })).toEqual({ ...presetNamed('bert-tiny').config!, relation: false });
  });
});

describe('a config.json that is written back', () => {
  it('keeps the ids of its special tokens, which need not be those of released models', () => {
    const { family, config } = presetNamed('bert-tiny');
    const sizes = { ...(config as BertConfig), vocabulary: 8, hidden: 4, layers: 1, heads: 1, inner: 4, context: 4 };
    const model = createModel(family, sizes, { device: device('cpu'), dtype: 'f32', seed: 1 });
    const base = withValues(EMPTY_CONFIG, { pad_token_id: 1, eos_token_id: null, hidden_size: 9 });
    const { values } = modelContent(model, { dtype: 'f32', base }).config;
    expect(values).toMatchObject({ pad_token_id: 1, eos_token_id: null, hidden_size: 4 });
    expect(modelContent(model, { dtype: 'f32' }).config.values).toMatchObject({ pad_token_id: 0 });
    disposeModel(model);
  });
});

describe('a folder whose config.json is not that of a model we read', () => {
  const root = mkdtempSync(join(tmpdir(), 'train-moe-hub-'));
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  const cpu = device('cpu');

  /** A folder without a tensor, which no config.json gets as far as. */
  function written(preset: string, changes: Readonly<Record<string, unknown>>): string {
    const { family, config } = presetNamed(preset);
    const path = mkdtempSync(join(root, `${preset}-`));
    writeModelFolder(folderSink(path), {
      config: withValues(EMPTY_CONFIG, { ...family.toHub(config), ...changes }),
      tensors: [],
      data: () => new Uint8Array(),
    });
    return path;
  }

  it.each([
    ['bert-tiny', 'BertForSequenceClassification'],
    ['distilbert-base', 'DistilBertForSequenceClassification'],
    ['xlnet-base', 'XLNetForSequenceClassification'],
  ])('a classifier (%s) is not called a reward model', (preset, name) => {
    const path = written(preset, { architectures: [name] });
    expect(() => loadModel(path, { device: cpu })).toThrow(`config.json names the architecture "${name}"; of `);
  });

  it.each([
    ['bert-tiny', { hidden_size: undefined }, 'bert', 'hidden is missing or no number'],
    ['bert-tiny', { num_hidden_layers: 'two' }, 'bert', 'layers is missing or no number'],
    ['bert-tiny', { num_attention_heads: 3 }, 'bert', 'heads is 3: must divide hidden'],
    ['gpt2', { vocab_size: undefined, n_head: undefined }, 'gpt2', 'vocabulary is missing or no number; heads is'],
    ['nano', { num_hidden_layers: undefined }, 'deepseek-v3', 'layers is missing or no number'],
  ])('that lacks a size (%s, %j) says which', (preset, changes, name, fault) => {
    const path = written(preset, changes);
    const sentence = `The config.json of ${path} does not give the sizes of a ${name} model: ${fault}`;
    expect(() => configOfFolder(path)).toThrow(sentence);
    expect(() => loadModel(path, { device: cpu })).toThrow(sentence);
  });
});
