import { describe, expect, it } from 'vitest';
import { Ema } from '../../src/optim/ema.js';
import { from, keep } from '../../src/tensor/index.js';
import { devices, relativeError } from '../ops/harness.js';

describe('Ema', () => {
  for (const device of devices())
    it(`follows average += (1 - decay) (value - average), in f32 (${device.name})`, () => {
      const values = keep(from(new Float32Array(19).fill(1), [19], { dtype: 'bf16', device }));
      const ema = new Ema([{ name: 'w', tensor: values, values }], 0.75);
      expect([...ema.of(values).read()]).toEqual(new Array(19).fill(1)); // starts at the value
      let expected = 1;
      for (const next of [2, 4, -8]) {
        values.write(new Float32Array(19).fill(next));
        ema.update();
        expected += 0.25 * (next - expected);
      }
      expect(ema.of(values).dtype).toBe('f32');
      expect(relativeError(ema.of(values).read(), new Array(19).fill(expected))).toBeLessThan(1e-6);
      expect(ema.state().map(([name]) => name)).toEqual(['ema.w']);
      ema.dispose();
      values.dispose();
    });
});
