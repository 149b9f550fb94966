import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parametersOf } from '../../src/models/codec.js';
import { FAMILIES, goldenCases, largestGradient, maxError, openGolden, runGolden } from '../models/golden.js';
import { sharedPath } from '../shared.js';
import { on, rehearsal } from './device.js';

/* Models against Hugging Face transformers in float64, at the tolerances that hold on the CPU. */

const root = sharedPath('golden');
const all = root ? goldenCases(root, FAMILIES) : [];
const names = rehearsal ? all.filter((name) => name.endsWith('-small')) : all;

describe.skipIf(!root)('parity with transformers (skipped where the shared goldens are not laid out)', () => {
  it.each(names)('%s: logits, hidden states, loss and gradients', (name) => {
    const folder = join(root!, name);
    const golden = openGolden(folder);
    const { model, result } = runGolden(folder, golden, { on });
    expect(maxError(result.logits, golden.floats('logits'))).toBeLessThan(2e-5);
    for (const [i, hidden] of result.hidden.entries())
      expect(maxError(hidden, golden.floats(`hidden.${i}`)), `hidden ${i}`).toBeLessThan(2e-5);
    expect(Math.abs(result.loss! - golden.floats('loss')[0]!)).toBeLessThan(1e-5);
    const largest = largestGradient(golden);
    for (const [key, { values }] of result.gradients!)
      if (golden.has(`grad.${key}`))
        expect(maxError(values, golden.floats(`grad.${key}`), 1e-3 * largest), key).toBeLessThan(3e-4);
    for (const { tensor } of parametersOf(model)) tensor.dispose();
  });
});
