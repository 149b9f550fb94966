import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { folderSink } from '../../src/hub/byte_sink.js';
import { openModelFolder, writeModelFolder } from '../../src/hub/folder.js';
import { createModel, parametersOf } from '../../src/models/codec.js';
import type { Model } from '../../src/models/family.js';
import { loadModel, modelContent } from '../../src/models/folder.js';
import { families } from '../../src/models/index.js';
import { loadScoring, scoring } from '../../src/models/scoring.js';
import { packTexts } from '../../src/rl/preference/pack.js';
import { forwardScores, scoreTexts } from '../../src/rl/preference/score.js';
import { device, scope, type Tensor } from '../../src/tensor/index.js';
import { tinyModel } from '../rl/tiny.js';
import { sharedPath } from '../shared.js';
import { openGolden } from './golden.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-scoring-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const cpu = device('cpu');
const dispose = (model: Model) => {
  for (const { tensor } of parametersOf(model)) tensor.dispose();
};
const head = (model: Model): Tensor => model.family.head(model.weights).weight;

function saved(name: string, model: Model, base?: Parameters<typeof modelContent>[1]['base']): string {
  const path = join(folder, name);
  writeModelFolder(folderSink(path), modelContent(model, { dtype: 'f32', ...(base && { base }) }));
  return path;
}

describe('a reward model', () => {
  it.each(['dense', 'experts'] as const)('of a language model (%s) starts at 0 and comes back from disk', (kind) => {
    const language = tinyModel(kind);
    const path = saved(`language-${kind}`, language);
    const model = loadScoring(path, { device: cpu, train: true, kind: 'pairwise' });
    expect([...head(model).read()]).toEqual(new Array(16).fill(0));
    head(model).write(Float32Array.from({ length: 16 }, (_, i) => Math.sin(i)));
    const again = loadScoring(saved(`score-${kind}`, model, model.hubConfig), { device: cpu });
    const texts = [
      { ids: Int32Array.of(2, 3, 4), mask: Uint8Array.of(0, 1, 1) },
      { ids: Int32Array.of(5, 6), mask: Uint8Array.of(0, 1) },
    ];
    const scores = scoreTexts(model, texts, cpu, 100);
    expect(new Set(scores).size).toBe(2);
    expect(scoreTexts(again, texts, cpu, 100)).toEqual(scores);
    expect(scoreTexts(again, texts, cpu, 1)).toEqual(scores); // whatever it is packed with
    for (const m of [language, model, again]) dispose(m);
  });

  it('has the names that transformers gives a sequence classifier with one label', () => {
    const language = tinyModel('dense');
    const model = loadScoring(saved('names', language), { device: cpu, kind: 'pointwise' });
    const path = saved('names-score', model, model.hubConfig);
    const config = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'));
    expect(config).toMatchObject({
      architectures: ['LlamaForSequenceClassification'],
      id2label: { 0: 'SCORE' },
      problem_type: 'multi_label_classification',
    });
    const file = openModelFolder(path);
    expect(file.tensors.has('score.weight')).toBe(true);
    expect(file.tensors.has('lm_head.weight')).toBe(false);
    expect(file.tensors.has('model.layers.0.self_attn.q_proj.weight')).toBe(true);
    file.close();
    expect(loadScoring(path, { device: cpu }).kind).toBe('pointwise');
    expect(() => loadScoring(path, { device: cpu, kind: 'pairwise' })).toThrow(/is a pointwise reward model/);
    expect(() => loadModel(path, { device: cpu })).toThrow(/is a reward model, which scores texts and cannot write/);
    dispose(language);
    dispose(model);
  });

  it('is the product of the last hidden state with one row', () => {
    const language = tinyModel('experts');
    const model = loadScoring(saved('product', language), { device: cpu });
    const row = Float32Array.from({ length: 16 }, (_, i) => Math.cos(i));
    head(model).write(row);
    const packed = packTexts([{ ids: Int32Array.of(2, 9, 4), mask: new Uint8Array(3) }]);
    scope(() => {
      let hidden: Float32Array = new Float32Array();
      const layers = model.family.layers(model.config);
      const own = { ...model, family: { ...model.family } };
      own.family.forward = (w, c, ids, run) => {
        const onHidden = (i: number, h: Tensor) => {
          if (i === layers) hidden = h.read();
        };
        return model.family.forward(w, c, ids, { ...run, onHidden });
      };
      const score = forwardScores(own, packed, cpu).read()[2]!;
      const expected = row.reduce((sum, r, i) => sum + r * hidden[2 * 16 + i]!, 0);
      expect(score).toBeCloseTo(expected, 5);
    });
    dispose(language);
    dispose(model);
  });

  it('exists for every family, without what only a language model needs', () => {
    for (const family of families) {
      const derived = scoring(family);
      expect(scoring(family)).toBe(derived);
      expect(derived.predictNext).toBeUndefined();
      for (const config of Object.values(family.presets)) {
        expect(Object.keys(derived.specs(config) as object)).not.toContain('next');
        expect(String(derived.toHub(config).architectures)).toMatch(/^\w+ForSequenceClassification$/);
      }
    }
  });
});

const golden = sharedPath('golden');

describe.skipIf(!golden)('released checkpoints as the start of a reward model (needs ../shared/golden)', () => {
  it.each(['llama-tied', 'deepseek-v3-mtp'])('%s: the hidden states are its own', (name) => {
    const path = join(golden!, name);
    const file = openGolden(path);
    const model = loadScoring(path, { device: cpu });
    const width = head(model).size;
    const layers = model.family.layers(model.config);
    const row = Float32Array.from({ length: width }, (_, i) => Math.sin(i + 1));
    head(model).write(row);
    const [batch, length] = file.shape('input_ids') as [number, number];
    const ids = file.ints('input_ids');
    const texts = Array.from({ length: batch }, (_, b) => ({
      ids: ids.slice(b * length, (b + 1) * length),
      mask: new Uint8Array(length),
    }));
    const hidden = file.floats(`hidden.${layers}`);
    const expected = texts.map((_, b) =>
      row.reduce((sum, r, i) => sum + r * hidden[((b + 1) * length - 1) * width + i]!, 0),
    );
    scoreTexts(model, texts, cpu, 1000).forEach((score, b) => void expect(score).toBeCloseTo(expected[b]!, 3));
    dispose(model);
  });
});

describe('a model made anew', () => {
  it('has a score of zeros and takes a seed', () => {
    const family = scoring(families[0]!);
    const config = tinyModel('dense').config;
    const model = createModel(family, config, { device: cpu, dtype: 'f32', seed: 1 });
    expect(
      head(model)
        .read()
        .every((v) => v === 0),
    ).toBe(true);
    dispose(model);
  });
});
