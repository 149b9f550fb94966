import type { Device, Tensor } from '../tensor/index.js';
import { tableFor } from './tables.js';

/** Rotary positions; see models/rope_config.ts for the file format. */
export interface Rope {
  /** Base of the angles: theta^(-2i/D) per position. */
  readonly theta: number;
  /** Stretched to more positions; null: as trained. Peng et al., arXiv:2309.00071. */
  readonly yarn: {
    /** s */
    readonly factor: number;
    /** Context length before stretching. */
    readonly original: number;
    readonly betaFast: number;
    readonly betaSlow: number;
    readonly mscale: number;
    readonly mscaleAllDim: number;
  } | null;
}

/** m = 0.1 * mscale * ln(s) + 1, YaRN's temperature. */
const temperature = (factor: number, mscale: number): number =>
  factor <= 1 || mscale === 0 ? 1 : 0.1 * mscale * Math.log(factor) + 1;

/** The factor whose square multiplies the softmax scale: m(mscale_all_dim), 1 without YaRN. DeepSeek-V2 section 3.1.4. */
export function attentionFactor({ yarn }: Rope): number {
  return yarn ? temperature(yarn.factor, yarn.mscaleAllDim) : 1;
}

/**
 * Angle per position of each of the size/2 pairs. YaRN keeps fast pairs, divides slow ones by s and blends in between:
 * freq = f*(1-r) + (f/s)*r, r a ramp over the pairs between the correction dims. Peng et al., arXiv:2309.00071.
 */
export function ropeFrequencies({ theta, yarn }: Rope, size: number): Float64Array {
  const half = size / 2;
  const plain = Float64Array.from({ length: half }, (_, i) => theta ** ((-2 * i) / size));
  if (!yarn) return plain;
  const [low, high] = correctionRange(theta, yarn, size);
  const width = Math.max(high - low, 0.001);
  return plain.map((f, i) => {
    const ramp = Math.min(Math.max((i - low) / width, 0), 1);
    return f * (1 - ramp) + (f / yarn.factor) * ramp;
  });
}

/** First and last pair of the ramp: those that turn betaFast and betaSlow times within the original context. */
export function correctionRange(theta: number, yarn: NonNullable<Rope['yarn']>, size: number): [number, number] {
  const dim = (turns: number) => (size * Math.log(yarn.original / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  return [Math.max(Math.floor(dim(yarn.betaFast)), 0), Math.min(Math.ceil(dim(yarn.betaSlow)), size - 1)];
}

/** [positions, size]: size/2 cosines then size/2 sines per position, times m(mscale) / m(mscale_all_dim). */
export function ropeTable(rope: Rope, size: number, positions: number): Float32Array {
  const { yarn } = rope;
  const scale = yarn ? temperature(yarn.factor, yarn.mscale) / temperature(yarn.factor, yarn.mscaleAllDim) : 1;
  const frequencies = ropeFrequencies(rope, size);
  const half = size / 2;
  const table = new Float32Array(positions * size);
  for (let p = 0; p < positions; p++)
    for (let i = 0; i < half; i++) {
      const angle = p * frequencies[i]!;
      table[p * size + i] = Math.cos(angle) * scale;
      table[p * size + half + i] = Math.sin(angle) * scale;
    }
  return table;
}

/** The table on a device, made once per configuration and kept. Covers `positions`, at most what the context allows. */
export const ropeTableFor = (rope: Rope, size: number, positions: number, device: Device): Tensor =>
  tableFor(['rope', rope], [positions, size], device, () => ropeTable(rope, size, positions));
