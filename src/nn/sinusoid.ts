import type { Device, Tensor } from '../tensor/index.js';
import { tableFor } from './tables.js';

/**
 * [positions, size]: the sines of position * 10000^(-2k/size), k = 0.. size/2 - 1, then their cosines, as CTRL and XLNet order them;
 * the first row is that of position `first`. Vaswani et al., arXiv:1706.03762, section 3.5, where sines and cosines take turns.
 */
export function sinusoid(size: number, positions: number, first = 0): Float32Array {
  const half = size / 2;
  const table = new Float32Array(positions * size);
  for (let p = 0; p < positions; p++)
    for (let k = 0; k < half; k++) {
      const angle = (first + p) * 10_000 ** ((-2 * k) / size);
      table[p * size + k] = Math.sin(angle);
      table[p * size + half + k] = Math.cos(angle);
    }
  return table;
}

/** The table on a device, in f32, made once and kept. */
export const sinusoidFor = (size: number, positions: number, device: Device, first = 0): Tensor =>
  tableFor(['sinusoid', first], [positions, size], device, () => sinusoid(size, positions, first));
