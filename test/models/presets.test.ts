import { describe, expect, it } from 'vitest';
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
        const back = family.fromHub(family.toHub(config)) as Record<string, unknown>;
        // Training coefficients are not part of the file format.
        for (const [key, value] of Object.entries(config as Record<string, unknown>))
          if (!/Balance$|^mtpWeight$|^biasSpeed$/.test(key)) expect([key, back[key]]).toEqual([key, value]);
      });
});
