import { describe, expect, it } from 'vitest';
import { deepseekV3 } from '../../src/models/deepseek_v3.js';
import { families, presetNamed } from '../../src/models/index.js';
import { countParameters } from '../../src/nn/param.js';

const count = (name: string) => {
  const { family, config } = presetNamed(name);
  return countParameters(family.specs(config));
};

describe('published shapes have the published number of parameters', () => {
  // Computed from the papers' tables: untied embeddings, every norm and correction bias counted.
  it.each([
    ['deepseek-llm-7b', 6.91e9],
    ['deepseek-llm-67b', 67.425e9],
    ['deepseek-moe-16b', 16.376e9],
    ['deepseek-v2-lite', 15.706e9],
    ['deepseek-v2', 235.741e9],
  ])('%s', (name, expected) => {
    expect(Math.abs(count(name) / expected - 1)).toBeLessThan(1e-3);
  });

  // Of transformers' models with their heads for pre-training, tied tensors once: BERT with that for pairs of sentences, too.
  it.each([
    ['gpt2', 124_439_808],
    ['gpt2-medium', 354_823_168],
    ['gpt2-large', 774_030_080],
    ['gpt2-xl', 1_557_611_200],
    ['ctrl', 1_637_964_550],
    ['bert-tiny', 4_433_468],
    ['bert-mini', 11_267_900],
    ['bert-small', 29_058_876],
    ['bert-medium', 41_668_412],
    ['bert-base', 110_106_428],
    ['bert-large', 336_226_108],
    ['roberta-base', 124_697_433],
    ['roberta-large', 355_412_057],
    ['distilbert-base', 66_985_530],
    ['albert-base', 11_813_810],
    ['albert-large', 17_847_474],
    ['albert-xlarge', 59_021_490],
    ['albert-xxlarge', 223_158_450],
    ['xlnet-base', 116_750_336],
    ['xlnet-large', 360_300_800],
    ['megatron-bert-345m', 334_723_458],
  ])('%s: %i, to the last one', (name, expected) => {
    expect(count(name)).toBe(expected);
  });

  it('deepseek-v3: 671.026B and a module of 11.61B', () => {
    const { family, config } = presetNamed('deepseek-v3');
    const main = countParameters(family.specs({ ...(config as object), mtpLayers: 0 }));
    expect(Math.abs(main / 671.026e9 - 1)).toBeLessThan(1e-5);
    expect(Math.abs((count('deepseek-v3') - main) / 11.61e9 - 1)).toBeLessThan(1e-3);
  });
});

describe('configurations survive Hugging Face and back', () => {
  for (const family of families)
    for (const [name, config] of Object.entries(family.presets))
      it(name, () => {
        expect(family.fromHub(family.toHub(config))).toEqual(config);
        // How a model is trained is part of it too, or fine-tuning would fall back to what its family does.
        const training = /Balance$|^mtpWeight$|^biasSpeed$/;
        const entries = Object.entries(config as Record<string, unknown>);
        const other = Object.fromEntries(entries.map(([key, v]) => [key, training.test(key) ? Number(v) + 0.5 : v]));
        expect(family.fromHub(JSON.parse(JSON.stringify(family.toHub(other))))).toEqual(other);
      });

  it('of files that do not say how to train: as the papers do', () => {
    const { config } = presetNamed('deepseek-v3');
    const hub = deepseekV3.toHub(config as never);
    const published = Object.entries(hub).filter(([key]) => !/aux|bias_update|mtp_loss/.test(key));
    expect(deepseekV3.fromHub(Object.fromEntries(published))).toMatchObject({
      mtpWeight: 0.3,
      sequenceBalance: 1e-4,
      biasSpeed: 0.001,
    });
  });
});
