import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { blankComments, parseConfigText } from '../../src/config/file.js';
import {
  configKeys,
  defineConfig,
  flagLayers,
  jsonSchema,
  presets,
  resolveConfig,
  runConfigSchema,
} from '../../src/config/index.js';
import { leaves, mergeLayers, nest } from '../../src/config/layers.js';
import { TrainMoeError } from '../../src/errors.js';
import { resolveSft } from '../../src/train/sft/config.js';
import { builtAddon } from '../package/installed.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(text: string): string {
  const path = join(folder, `${Math.random().toString(36).slice(2)}.json`);
  writeFileSync(path, text);
  return path;
}

function failure(run: () => unknown): TrainMoeError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(TrainMoeError);
    return error as TrainMoeError;
  }
  throw new Error('nothing was thrown');
}

describe('layers', () => {
  it("a command's own defaults give way to the file and the flags", () => {
    const defaults = { source: 'a command', values: { preset: 'micro', out: 'runs/first' } };
    expect(resolveConfig({ defaults }).config).toMatchObject({ preset: 'micro', out: 'runs/first' });
    const path = file('{"preset": "mini"}');
    const { config, sources } = resolveConfig({ defaults, file: path, flags: flagLayers({ out: 'runs/mine' }) });
    expect(config).toMatchObject({ preset: 'mini', out: 'runs/mine', train: { length: 512 } });
    expect(Object.fromEntries(sources)).toMatchObject({ preset: path, out: '--out', 'train.length': 'preset mini' });
  });

  it('merge preset < file < flags, and remember who set what', () => {
    const path = file('{"preset": "mini", "train": {"steps": 7, "optimizer": {"lr": 0.5}}}');
    const { config, sources } = resolveConfig({
      file: path,
      flags: flagLayers({ 'train.steps': '9', 'data.sources': ['a.txt', 'b'] }),
    });
    expect(config.train.steps).toBe(9);
    expect(config.train.optimizer.lr).toBe(0.5);
    expect(config.train.length).toBe(512);
    expect(config.train.clip).toBe(1);
    expect(config.out).toBe(join('runs', 'mini'));
    expect(Object.fromEntries(sources)).toMatchObject({
      preset: path,
      'train.steps': '--train.steps',
      'train.optimizer.lr': path,
      'train.length': 'preset mini',
      'train.clip': 'default',
      'data.sources': '--data.sources',
    });
  });

  it('name a source for every leaf of the result', () => {
    const { config, sources } = resolveConfig({});
    expect([...sources.keys()]).toEqual([...leaves(config)].map(([path]) => path));
  });

  it('take the last word of each leaf whatever the layers are', () => {
    const value = fc.oneof(fc.integer(), fc.string(), fc.array(fc.integer()));
    const path = fc.array(fc.constantFrom('a', 'b', 'c', '__proto__'), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(fc.array(fc.tuple(path, value), { maxLength: 12 }), (writes) => {
        const layers = writes.map(([p, v], i) => ({ source: String(i), values: nest(p.join('.'), v) }));
        const merged = mergeLayers(layers);
        for (const [leaf, found] of leaves(merged.values)) {
          const source = merged.sources.get(leaf);
          expect(source).toBeDefined();
          expect(writes[Number(source)]).toEqual([leaf.split('.'), found]);
          const later = writes.slice(Number(source) + 1).map(([p]) => p.join('.'));
          expect(later.filter((p) => p === leaf || leaf.startsWith(`${p}.`) || p.startsWith(`${leaf}.`))).toEqual([]);
        }
        expect(merged.sources.size).toBe([...leaves(merged.values)].length);
      }),
    );
  });
});

describe('faults', () => {
  it('are reported all at once, with path, value, source and what was probably meant', () => {
    const path = file('{"train": {"stepz": 5, "optimizer": {"beta1": 2}}, "lr": 1}');
    const { code, message } = failure(() => resolveConfig({ file: path, flags: flagLayers({ 'train.rows': 'many' }) }));
    expect(code).toBe('bad-config');
    expect(message).toContain('has 4 faults');
    expect(message).toContain(`train.stepz (${path}): there is no such setting; did you mean train.steps?`);
    expect(message).toContain(`lr (${path}): there is no such setting; did you mean train.optimizer.lr?`);
    expect(message).toContain(`train.optimizer.beta1 = 2 (${path}): too big`);
    expect(message).toMatch(/train\.rows = "many" \(--train\.rows\): .*expected number/);
  });

  it('call what is missing missing, and a decay of 1 too big', () => {
    // @ts-expect-error what the compiler says too
    expect(failure(() => defineConfig({ train: { rowsRamp: { from: 2 } } })).message).toBe(
      'The configuration has a fault: train.rowsRamp.steps: it is missing; give steps over which they grow to train.rows.',
    );
    // @ts-expect-error what the compiler says too
    expect(failure(() => resolveSft({ model: 'm' })).message).toBe(
      'The settings of SFT have a fault: data: it is missing; give files of conversations: .jsonl .json (also .gz) .parquet.',
    );
    const { message } = failure(() => defineConfig({ train: { ema: 1, optimizer: { beta1: 1, beta2: 1 } } }));
    expect(message).toContain('has 3 faults');
  });

  it('name unknown sections with everything in them', () => {
    // @ts-expect-error what the compiler says too
    const { message } = failure(() => defineConfig({ evaluation: { every: 3 } }));
    expect(message).toMatch(/evaluation \(the object given\): there is no such setting; did you mean evaluate\?/);
  });

  it('offer nothing when nothing is near', () => {
    // @ts-expect-error what the compiler says too
    expect(failure(() => defineConfig({ qqqqqqqqqq: 1 })).message).not.toContain('did you mean');
  });

  it('name an unknown preset and the ones there are', () => {
    const { message } = failure(() => resolveConfig({ flags: flagLayers({ preset: 'nanno' }) }));
    expect(message).toBe(
      `The preset "nanno" (--preset) does not exist; did you mean "nano"? There are ${Object.keys(presets).join(', ')}.`,
    );
  });

  it.each([
    [{ data: { validation: 0.6, test: 0.4 } }, /data\.validation \+ data\.test = 1/],
    [{ train: { rows: 8, accumulate: 3 } }, /train\.accumulate = 3: it must divide train\.rows = 8/],
    [{ train: { schedule: { drops: [0.9, 0.6] } } }, /drops = \[0\.9,0\.6\]: the fractions must rise/],
    [{ train: { rows: 8, rowsRamp: { from: 9, steps: 2 } } }, /rowsRamp\.from = 9: it must not exceed/],
  ])('find settings that contradict each other: %j', (values, sentence) => {
    expect(failure(() => defineConfig(values)).message).toMatch(sentence);
  });

  it('find what contradicts a model to go on from, whichever comes first', () => {
    const path = file('{"model": {"hidden": 64}, "preset": "mini"}');
    const flags = flagLayers({ model: 'runs/a', 'model.heads': '2', 'tokenizer.vocabSize': '500' });
    expect(failure(() => resolveConfig({ file: path, flags })).message).toBe(
      `model = "runs/a" (--model) brings its own shape and vocabulary; leave out preset (${path}), model.hidden (${path}), model.heads (--model.heads), tokenizer.vocabSize (--tokenizer.vocabSize).`,
    );
    expect(failure(() => defineConfig({ model: 'runs/a', preset: 'nano' })).message).toContain(
      'leave out preset (the object given)',
    );
    const { config } = resolveConfig({
      file: file('{"model": "runs/a"}'),
      flags: flagLayers({ 'tokenizer.path': 't' }),
    });
    expect(config).toMatchObject({
      model: 'runs/a',
      out: join('runs', 'pretrain'),
      train: { optimizer: { lr: 1e-3 } },
    });
  });

  it('point into an array', () => {
    expect(failure(() => defineConfig({ train: { schedule: { drops: [0.5, 7] } } })).message).toContain(
      'train.schedule.drops.1 = 7 (the object given): too big',
    );
  });
});

describe('files', () => {
  it('may hold comments and trailing commas, which strings keep', () => {
    const text = '\uFEFF{ // run\n "out": "a//b /* c */ ,]", /* two\nlines */ "train": {"steps": 3, // last\n },\n}';
    expect(parseConfigText(text, 'x')).toEqual({ out: 'a//b /* c */ ,]', train: { steps: 3 } });
  });

  it('are JSON otherwise: blanking changes neither JSON nor lengths', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(JSON.parse(blankComments(text))).toEqual(JSON.parse(text));
        expect(blankComments(text)).toHaveLength(text.length);
      }),
    );
  });

  it('that are broken or missing are named', () => {
    expect(failure(() => resolveConfig({ file: file('{"train": ') })).message).toContain('is not JSON');
    expect(failure(() => resolveConfig({ file: file('[1]') })).message).toContain('must be an object of settings');
    expect(failure(() => resolveConfig({ file: join(folder, 'none.json') })).code).toBe('not-found');
  });
});

describe('flags', () => {
  it('read by what their setting needs', () => {
    const layers = flagLayers({
      'train.steps': ['5', '1_000'],
      'train.recompute': 'true',
      'train.schedule.drops': ['0.5', '0.75'],
      out: '123',
      'data.sources': '7',
      'model.layers': '4',
      'model.gate': 'sigmoid',
    });
    expect(mergeLayers(layers).values).toEqual({
      train: { steps: 1000, recompute: true, schedule: { drops: [0.5, 0.75] } },
      out: '123',
      data: { sources: ['7'] },
      model: { layers: 4, gate: 'sigmoid' },
    });
  });
});

describe('the schema', () => {
  it('describes every setting', () => {
    for (const key of configKeys()) expect(key.description, key.path).not.toBe('');
  });

  it('accepts every preset', () => {
    for (const preset of Object.keys(presets)) expect(defineConfig({ preset }).preset).toBe(preset);
  });

  it('has the token counts of the papers', () => {
    const tokens = (preset: string) => {
      const { steps, rows, length, rowsRamp } = defineConfig({ preset }).train;
      let sum = steps * rows * length;
      const missing = (rows - (rowsRamp?.from ?? rows)) / 2; // rows that the ramp leaves out, on average
      sum -= (rowsRamp?.steps ?? 0) * missing * length;
      return sum;
    };
    const papers = { 'deepseek-llm-7b': 2e12, 'deepseek-moe-2b': 1e11, 'deepseek-v2': 8.1e12, 'deepseek-v3': 14.8e12 };
    for (const [preset, expected] of Object.entries(papers)) {
      expect(tokens(preset) / expected, preset).toBeCloseTo(1, 3);
    }
  });

  it('trains encoders with the AdamW of their papers', () => {
    const of = (preset: string) => {
      const { optimizer, clip } = defineConfig({ preset }).train;
      return [optimizer.lr, optimizer.beta2, optimizer.eps, optimizer.decay, clip];
    };
    expect(of('bert-base')).toEqual([1e-4, 0.999, 1e-6, 0.01, 1]);
    expect(of('roberta-base')).toEqual([6e-4, 0.98, 1e-6, 0.01, 1]);
    expect(of('distilbert-base')).toEqual([5e-4, 0.98, 1e-6, 0, 5]);
  });

  it.skipIf(!builtAddon)('has a preset for every model that has one (needs a build)', async () => {
    const { families } = await import('../../src/models/index.js');
    const models = families.flatMap((family) => Object.keys(family.presets));
    expect(Object.keys(presets).sort()).toEqual(models.sort());
  });

  it('gives the same keys to editors as it accepts', () => {
    expect(Object.keys((jsonSchema() as { properties: object }).properties)).toEqual(
      Object.keys(runConfigSchema.shape),
    );
  });
});
