import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sharedPath } from '../shared.js';
import { dispose, openGolden, rmsError, runGolden } from './golden.js';

/**
 * What transformers 5.18 errs in a plain bf16 run (torch 2.13, CPU, weights and arithmetic in bf16, eager attention and
 * experts) against the float64 answers of the same cases: root-mean-square errors, the median over the rows of the logits
 * and over the gradients of the parameters. Ours may be at most twice as large. Medians, because a handful of tokens choose
 * another expert in bf16, here and there, and then tell how close the choice was rather than how well was computed.
 */
const plainRun: Readonly<Record<string, { readonly logits: number; readonly gradients: number }>> = {
  'deepseek-v2': { logits: 0.0173, gradients: 0.0817 },
  'deepseek-v2-small': { logits: 0.0056, gradients: 0.0083 },
  'deepseek-v2-yarn': { logits: 0.0214, gradients: 0.0628 },
  'deepseek-v3': { logits: 0.0171, gradients: 0.0569 },
  'deepseek-v3-small': { logits: 0.0061, gradients: 0.0093 },
  'deepseek-v3-yarn': { logits: 0.0267, gradients: 0.181 },
  'deepseek-v3-yarn-ratio': { logits: 0.0178, gradients: 0.0608 },
  'llama-gqa': { logits: 0.0196, gradients: 0.0357 },
  'llama-gqa-small': { logits: 0.0057, gradients: 0.0087 },
  'llama-sharded-bf16': { logits: 0.0148, gradients: 0.0386 },
  'llama-tied': { logits: 0.013, gradients: 0.0346 },
};

const root = sharedPath('golden');
const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!;

describe.skipIf(!root)(
  'bf16 beside a plain bf16 run of transformers (skipped where the shared goldens are not laid out)',
  () => {
    it.each(Object.entries(plainRun))('%s: errors within twice those', (name, { logits, gradients }) => {
      const golden = openGolden(join(root!, name));
      const { model, result } = runGolden(join(root!, name), golden, { dtype: 'bf16' });
      dispose(model);
      const expected = golden.floats('logits');
      const width = golden.shape('logits').at(-1)!;
      const rows = Array.from({ length: expected.length / width }, (_, r) => [r * width, (r + 1) * width] as const)
        .filter(([start, end]) => expected.subarray(start, end).some((x) => x !== 0)) // padding is zero
        .map(([start, end]) => rmsError(result.logits.subarray(start, end), expected.subarray(start, end)));
      expect(median(rows)).toBeLessThan(2 * logits);
      const stored = golden.names().filter((n) => n.startsWith('grad.'));
      const largest = Math.max(...stored.map((n) => golden.floats(n).reduce((m, v) => Math.max(m, Math.abs(v)), 0)));
      const errors = stored.map((n) =>
        rmsError(result.gradients!.get(n.slice('grad.'.length))!.values, golden.floats(n), 1e-3 * largest),
      );
      expect(median(errors)).toBeLessThan(2 * gradients);
    });
  },
);
