import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EMPTY_CONFIG, float, formatConfig, parseConfig, readConfig, withValues } from '../../src/hub/config_json.js';
import { sharedPath } from '../shared.js';
import { thrown } from './memory.js';

const TEXT = `{
  "zeta": 1e-06,
  "rope_theta": 10000.0,
  "architectures": [
    "DeepseekV3ForCausalLM"
  ],
  "rope_scaling": {
    "type": "yarn",
    "factor": 40.0,
    "unknown": 1000000000000000019884624838656
  },
  "name": "caf\\u00e9",
  "empty": {},
  "none": [],
  "limit": Infinity,
  "unset": null
}
`;

describe('a settings file', () => {
  it('is written back as it was, spelling of numbers included', () => {
    expect(formatConfig(parseConfig(TEXT, 'config.json'))).toBe(TEXT);
  });

  it('is parsed to plain values', () => {
    const { values } = parseConfig(TEXT, 'config.json');
    expect(values).toMatchObject({ zeta: 1e-6, rope_theta: 10000, name: 'café', limit: Infinity, unset: null });
    expect(values.rope_scaling).toMatchObject({ type: 'yarn', factor: 40 });
  });

  it('keeps places and spellings when keys are set, at every depth', () => {
    const changed = withValues(parseConfig(TEXT, 'config.json'), {
      added: float(3),
      rope_theta: 10000,
      rope_scaling: { beta: 1, unknown: 1e30, factor: float(80), type: 'yarn' },
      zeta: 2e-6,
      none: [1, float(0.5)],
      name: undefined,
      unset: undefined,
    });
    expect(formatConfig(changed)).toBe(`{
  "zeta": 0.000002,
  "rope_theta": 10000.0,
  "architectures": [
    "DeepseekV3ForCausalLM"
  ],
  "rope_scaling": {
    "type": "yarn",
    "factor": 80.0,
    "unknown": 1000000000000000019884624838656,
    "beta": 1
  },
  "empty": {},
  "none": [
    1,
    0.5
  ],
  "limit": Infinity,
  "added": 3.0
}
`);
    expect(changed.values).toMatchObject({ added: 3, none: [1, 0.5] });
    expect(changed.values).not.toHaveProperty('name');
  });

  it('holds any JSON value', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (values) => {
        const config = withValues(EMPTY_CONFIG, values);
        expect(JSON.parse(formatConfig(config))).toEqual(values);
        expect(parseConfig(formatConfig(config), 'c').values).toEqual(config.values);
      }),
    );
  });

  it('treats __proto__ as a key like any other', () => {
    const config = parseConfig('{"__proto__": {"polluted": true}}', 'config.json');
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect(Object.hasOwn(config.values, '__proto__')).toBe(true);
    expect(formatConfig(config)).toContain('"__proto__"');
  });

  it.each([
    ['an array', '[1]', 'where a JSON object'],
    ['a key twice', '{"a": 1, "a": 2}', '"a" comes twice'],
    ['a torn end', '{"a": 1', 'found the end'],
    ['a comment', '{"a": 1 // no\n}', 'found "/"'],
    ['more than 64 levels', `{"a": ${'['.repeat(200)}${']'.repeat(200)}}`, 'deeper than 64'],
  ])('with %s is refused', (_, text, sentence) => {
    const error = thrown(() => parseConfig(text, 'some/config.json'));
    expect(error.code).toBe('bad-data');
    expect(error.message).toContain('some/config.json');
    expect(error.message).toContain(sentence);
  });

  it('cannot hold a function, and a missing one is named', () => {
    expect(thrown(() => withValues(EMPTY_CONFIG, { f: { g: [() => 1] } })).message).toContain('f.g[0] is a function');
    expect(thrown(() => readConfig('/nowhere/config.json')).message).toContain('/nowhere/config.json');
  });

  const golden = sharedPath('golden');
  it.skipIf(!golden)('of every golden model comes back byte for byte (needs ../shared)', () => {
    const files = readdirSync(golden!, { recursive: true, encoding: 'utf8' }).filter((f) =>
      /config(\.hub)?\.json$/.test(f),
    );
    expect(files.length).toBeGreaterThan(30);
    for (const file of files) {
      const text = readFileSync(join(golden!, file), 'utf8');
      expect(formatConfig(parseConfig(text, file)), file).toBe(text.endsWith('\n') ? text : `${text}\n`);
    }
  });
});
