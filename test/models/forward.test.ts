import { describe, expect, it } from 'vitest';
import { createModel, disposeModel } from '../../src/models/codec.js';
import { type ForwardInputs, forward } from '../../src/models/forward.js';
import { presetNamed } from '../../src/models/index.js';
import { device } from '../../src/tensor/index.js';

const cpu = device('cpu');
const sizes = { vocabulary: 12, hidden: 8, layers: 1, heads: 2, inner: 8, deviation: 0.3 };

/** What a small model of a preset's family makes of these arguments. */
function run(preset: string, inputs: ForwardInputs) {
  const { family, config } = presetNamed(preset);
  const narrow = { ...sizes, ...('context' in (config as object) && { context: 6 }) };
  const model = createModel(family, { ...(config as object), ...narrow }, { device: cpu, dtype: 'f32', seed: 1 });
  try {
    return forward(model, inputs, cpu);
  } finally {
    disposeModel(model);
  }
}

const ids = (...values: number[]) => ({ shape: [1, values.length] as const, inputIds: Int32Array.from(values) });

describe('the arguments of a pass', () => {
  it.each(['gpt2-nano', 'ctrl', 'bert-tiny'])(
    'count padding as places of learned positions (%s), as in transformers',
    (name) => {
      const attentionMask = Int32Array.of(0, 0, 1, 1, 1);
      const padded = { ...ids(0, 0, 7, 8, 9), attentionMask };
      const counted = run(name, { ...padded, positionIds: Int32Array.of(0, 1, 2, 3, 4) });
      const fromFirst = run(name, { ...padded, positionIds: Int32Array.of(0, 0, 0, 1, 2) });
      expect(run(name, padded).logits).toEqual(counted.logits);
      expect(run(name, padded).logits).not.toEqual(fromFirst.logits);
    },
  );

  it.each<[string, string, Partial<ForwardInputs>]>([
    ['bert-tiny', 'attention_mask has 2 values; [1,3] are expected.', { attentionMask: Int32Array.of(1, 1) }],
    ['gpt2-nano', 'position_ids has 4 values; [1,3] are expected.', { positionIds: new Int32Array(4) }],
    ['bert-tiny', 'token_type_ids has 2 values; [1,3] are expected.', { tokenTypeIds: new Int32Array(2) }],
    ['bert-tiny', 'labels has 2 values; [1,3] are expected.', { labels: new Int32Array(2) }],
    ['bert-tiny', 'The label of sentence pairs has 2 values; [1] are expected.', { relationLabels: new Int32Array(2) }],
    [
      'xlnet-base',
      'labels has 3 values; [1,1] are expected.',
      { labels: new Int32Array(3), targetMapping: Int32Array.of(0, 0, 1) },
    ],
    ['gpt2-nano', 'token_type_ids are arguments of encoders', { tokenTypeIds: new Int32Array(3) }],
    ['distilbert-base', 'This model has no token types', { tokenTypeIds: new Int32Array(3) }],
    ['bert-tiny', 'The rows have 7 tokens, but the model reads 6', ids(1, 2, 3, 4, 5, 6, 7)],
    ['bert-tiny', 'hides a token between others in row 0', { attentionMask: Int32Array.of(1, 0, 1) }],
  ])('of %s are refused: %s', (name, sentence, wrong) => {
    expect(() => run(name, { ...ids(1, 2, 3), ...wrong })).toThrow(sentence);
  });

  it('may hide any token from XLNet', () => {
    const { logits } = run('xlnet-base', { ...ids(1, 2, 3), attentionMask: Int32Array.of(1, 0, 1) });
    expect(logits.length).toBe(3 * sizes.vocabulary);
  });
});
