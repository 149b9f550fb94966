import { describe, expect, it } from 'vitest';
import { families, presetNamed } from '../../src/models/index.js';

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
