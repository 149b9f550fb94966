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
});
