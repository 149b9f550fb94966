import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Engine } from '../../src/generate/index.js';
import { createModel, disposeModel, trainedParameters } from '../../src/models/codec.js';
import { logitsOf } from '../../src/models/family.js';
import { loadDecoder } from '../../src/models/folder.js';
import { type ForwardInputs, forward } from '../../src/models/forward.js';
import { gpt2, presetNamed, type XlnetConfig, xlnet } from '../../src/models/index.js';
import { saveModel } from '../../src/models/save.js';
import { loadScoring } from '../../src/models/scoring.js';
import { makeLayout } from '../../src/nn/layout.js';
import { countParameters } from '../../src/nn/param.js';
import { weightedSum } from '../../src/ops/weighted_sum.js';
import { device, differentiate, from, noGrad, resetGradients, scope } from '../../src/tensor/index.js';
import { relativeError } from '../ops/harness.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-xlnet-'));
const cpu = device('cpu');
const config: XlnetConfig = {
  ...xlnet.presets['xlnet-base']!,
  vocabulary: 23,
  hidden: 12,
  layers: 3,
  heads: 3,
  inner: 20,
  deviation: 0.3,
};
const modelOf = (more: Partial<XlnetConfig> = {}) =>
  createModel(xlnet, { ...config, ...more }, { device: cpu, dtype: 'f32', seed: 3 });
const ids = (count: number, of = 7) => Int32Array.from({ length: count }, (_, i) => (i * of + (i >> 2)) % 23);
const run = (model: ReturnType<typeof modelOf>, inputs: ForwardInputs) => forward(model as never, inputs, cpu);

describe('XLNet', () => {
  const model = modelOf();
  afterAll(() => {
    disposeModel(model as never);
    rmSync(folder, { recursive: true, force: true });
  });

  it.each([
    ['xlnet-base', 116_750_336],
    ['xlnet-large', 360_300_800],
  ])('%s has %d parameters, as published', (name, expected) => {
    const { family, config: of } = presetNamed(name);
    expect(countParameters(family.specs(of))).toBe(expected);
  });

  it('reads a text in segments as at once, if its tokens see what came before', () => {
    const causal = modelOf({ causal: true });
    const text = ids(2 * 10);
    const part = (first: number, end: number) =>
      Int32Array.from([...text.subarray(first, end), ...text.subarray(10 + first, 10 + end)]);
    const whole = run(causal, { shape: [2, 10], inputIds: text }).logits;
    const first = run(causal, { shape: [2, 6], inputIds: part(0, 6) });
    const later = run(causal, { shape: [2, 4], inputIds: part(6, 10), mems: first.newMems });
    const rows = [0, 1].flatMap((b) => [...whole.subarray((b * 10 + 6) * 23, (b + 1) * 10 * 23)]);
    expect(relativeError(later.logits, rows)).toBeLessThan(1e-5);
    expect(later.newMems!.map((m) => m.length)).toEqual([240, 240, 240]); // 10 tokens of 2 sequences, 12 channels
    disposeModel(causal as never);
  });

  it('remembers the first tokens of a segment, and so many of all', () => {
    const short = modelOf({ memoryLength: 5, reuseLength: 3 });
    const first = run(short, { shape: [1, 4], inputIds: ids(4) }).newMems!;
    const second = run(short, { shape: [1, 4], inputIds: ids(4, 5), mems: first }).newMems!;
    expect(first.map((m) => m.length / 12)).toEqual([3, 3, 3]);
    expect(second.map((m) => m.length / 12)).toEqual([5, 5, 5]);
    expect(second[0]!.subarray(0, 2 * 12)).toEqual(first[0]!.subarray(12));
    const forgetful = modelOf({ remembers: false });
    expect(run(forgetful, { shape: [1, 4], inputIds: ids(4) }).newMems).toBeUndefined();
    for (const m of [short, forgetful]) disposeModel(m as never);
  });

  it('predicts a word without seeing it, and one without a place from nothing', () => {
    const asked = (word: number) => {
      const inputIds = ids(6);
      inputIds[5] = word;
      const last = Int32Array.from({ length: 36 }, (_, i) => (i % 6 === 5 ? 1 : 0));
      const targetMapping = Int32Array.of(0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0);
      return run(model, { shape: [1, 6], inputIds, permMask: last, targetMapping });
    };
    const [one, other] = [asked(3), asked(4)];
    expect(one.logits.length).toBe(2 * 23);
    expect(one.hidden).toEqual([]);
    expect([...one.logits]).toEqual([...other.logits]);
    expect(one.logits.every(Number.isFinite)).toBe(true);
  });

  it('computes the same gradients when blocks are computed again, from a plain layout with padding', () => {
    const mask = Int32Array.of(0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    const [labels, inputIds] = [ids(10, 3), ids(10)];
    const trained = createModel(xlnet, config, { device: cpu, dtype: 'f32', seed: 3, train: true });
    const gradients = (recompute: boolean) =>
      scope(() => {
        const parameters = trainedParameters(trained as never);
        resetGradients(parameters.map(({ tensor }) => tensor));
        differentiate(() => {
          const layout = makeLayout({ rows: 2, length: 5, causal: false, mask });
          const hidden = xlnet.forward(trained.weights, config, from(inputIds, [10]), {
            layout,
            losses: [],
            recompute,
          });
          const logits = logitsOf(trained as never, hidden);
          const chosen = Float32Array.from({ length: 230 }, (_, i) => (i % 23 === labels[Math.floor(i / 23)] ? 1 : 0));
          const kept = chosen.map((x, i) => (mask[Math.floor(i / 23)] ? x : 0));
          return { losses: [weightedSum(logits, from(kept, [10, 23]))] };
        });
        return parameters.map(({ name, tensor }) => [name, tensor.gradient?.value(tensor.shape)?.read()] as const);
      });
    const [kept, again] = [gradients(false), gradients(true)];
    for (const [i, [name, values]] of again.entries()) expect(values ?? 'none', name).toEqual(kept[i]![1] ?? 'none');
    const plain = noGrad(() =>
      scope(() => {
        const layout = makeLayout({ rows: 2, length: 5, causal: false, mask });
        const hidden = xlnet.forward(trained.weights, config, from(inputIds, [10]), { layout, losses: [] });
        return logitsOf(trained as never, hidden).read();
      }),
    );
    const asked = run(trained, { shape: [2, 5], inputIds, attentionMask: mask }).logits;
    expect([...plain.subarray(2 * 23)]).toEqual([...asked.subarray(2 * 23)]);
    disposeModel(trained as never);
  });
});

describe('XLNet refuses', () => {
  const model = modelOf();
  const saved = join(folder, 'model');
  afterAll(() => disposeModel(model as never));

  it('to write, and to be what writes', () => {
    expect(() => new Engine(model as never)).toThrow(
      /This is a model of the family xlnet, for which generation is not built/,
    );
    saveModel(saved, model as never);
    expect(() => loadDecoder(saved, { device: cpu })).toThrow(/is a model of the family xlnet/);
    expect(() => loadScoring(saved, { device: cpu })).toThrow(/is a model of the family xlnet/);
  });

  const inputs = { shape: [1, 4], inputIds: ids(4) } as const;
  it.each<[string, Partial<ForwardInputs>, RegExp]>([
    ['an order of another length', { permMask: new Int32Array(9) }, /perm_mask has 9 values; \[1,4,4\] are expected/],
    ['targets at two places', { targetMapping: [1, 0, 1, 0] }, /Row 0 of target_mapping names no single place/],
    ['parts of targets', { targetMapping: [0.5, 0, 0, 0] }, /Row 0 of target_mapping names no single place/],
    ['targets of another length', { targetMapping: [1, 0, 0] }, /target_mapping has 3 values; \[1,targets,4\] are/],
    ['memory of fewer layers', { mems: [new Float32Array(12)] }, /There are 1 mems; one of equal size for each of 3/],
    [
      'memory of another width',
      { mems: [1, 2, 3].map(() => new Float32Array(13)) },
      /mems\.0 has 13 values; \[memory,1,12\] are expected/,
    ],
  ])('%s', (_, more, says) => {
    expect(() => run(model, { ...inputs, ...more })).toThrow(says);
  });

  it('its arguments to go to other models', () => {
    const sizes = { ...gpt2.presets['gpt2-nano']!, vocabulary: 23, hidden: 8, layers: 1, heads: 2, inner: 8 };
    const other = createModel(gpt2, sizes, { device: cpu, dtype: 'f32', seed: 1 });
    expect(() => forward(other as never, { ...inputs, permMask: new Int32Array(16) }, cpu)).toThrow(
      /are arguments of XLNet; this is a gpt2 model/,
    );
    disposeModel(other as never);
  });

  it('other heads, and head sizes that do not fit', () => {
    const hub = xlnet.toHub(config);
    expect(() => xlnet.fromHub({ ...hub, architectures: ['XLNetForQuestionAnswering'] })).toThrow(
      /only XLNetLMHeadModel/,
    );
    expect(() => xlnet.fromHub({ ...hub, d_head: 5 })).toThrow(
      /d_head 5 and n_head 3; their product must be d_model, 12/,
    );
  });
});
