import { TrainMoeError } from '../errors.js';
import { e4m3ToF32, f32ToE4m3 } from './numbers.js';

/** Rows and columns that share one scale. */
export interface BlockShape {
  readonly rows: number;
  readonly cols: number;
}

/** DeepSeek-V3 scales its weights in squares and its activations per token and 128 channels (section 3.3.2). */
export const WEIGHT_BLOCK: BlockShape = { rows: 128, cols: 128 };
export const ACTIVATION_BLOCK: BlockShape = { rows: 1, cols: 128 };

/** Largest finite E4M3 value: the scale of a block maps its largest magnitude to it. */
const E4M3_LARGEST = 448;

/** A subnormal scale would be too coarse to divide by. */
const SMALLEST_SCALE = 2 ** -126;

/** An E4M3 matrix with one factor per block: value = code * scale. */
export interface QuantisedMatrix {
  /** [rows, cols], row by row. */
  readonly codes: Uint8Array;
  /** [ceil(rows / block.rows), ceil(cols / block.cols)]; on disk `weight_scale_inv`. */
  readonly scales: Float32Array;
}

/** Number of blocks along each side; ragged edges make a smaller last block. */
export function blockCounts(rows: number, cols: number, block: BlockShape): readonly [number, number] {
  return [Math.ceil(rows / block.rows), Math.ceil(cols / block.cols)];
}

/**
 * Quantises `values` [rows, cols] to E4M3: scale = max|block| / 448, code = round(value / scale), in float32.
 * The scale is at least the smallest normal float32, so that a block of zeros gives zeros and not 0/0.
 *
 * DeepSeek-V3, arXiv:2412.19437, section 3.3. Throws `bad-argument` when `values` does not have rows * cols elements.
 */
export function quantiseBlocks(
  values: Float32Array,
  rows: number,
  cols: number,
  block: BlockShape = WEIGHT_BLOCK,
): QuantisedMatrix {
  checkLength('values', values.length, rows * cols, [rows, cols]);
  const [, across] = blockCounts(rows, cols, block);
  const scales = blockScales(values, rows, cols, block);
  const codes = new Uint8Array(values.length);
  const scaled = new Float32Array(cols);
  for (let row = 0; row < rows; row++) {
    const first = Math.floor(row / block.rows) * across;
    for (let b = 0; b < across; b++) {
      const scale = scales[first + b]!;
      const end = Math.min(cols, (b + 1) * block.cols);
      for (let col = b * block.cols; col < end; col++) scaled[col] = values[row * cols + col]! / scale;
    }
    f32ToE4m3(scaled, codes.subarray(row * cols, (row + 1) * cols));
  }
  return { codes, scales };
}

function blockScales(values: Float32Array, rows: number, cols: number, block: BlockShape): Float32Array {
  const [down, across] = blockCounts(rows, cols, block);
  const scales = new Float32Array(down * across);
  for (let row = 0; row < rows; row++) {
    const first = Math.floor(row / block.rows) * across;
    for (let b = 0; b < across; b++) {
      let largest = scales[first + b]!;
      const end = Math.min(cols, (b + 1) * block.cols);
      for (let col = b * block.cols; col < end; col++) {
        const magnitude = Math.abs(values[row * cols + col]!);
        // A NaN, once met, stays (nothing compares above it) and shows in the scale instead of vanishing.
        if (magnitude > largest || Number.isNaN(magnitude)) largest = magnitude;
      }
      scales[first + b] = largest;
    }
  }
  for (let i = 0; i < scales.length; i++) scales[i] = Math.max(scales[i]! / E4M3_LARGEST, SMALLEST_SCALE);
  return scales;
}

/**
 * value = code * scale of the block, in float32. Throws `bad-argument` when codes or scales do not have the number of
 * elements that rows, cols and block ask for.
 */
export function dequantiseBlocks(
  { codes, scales }: QuantisedMatrix,
  rows: number,
  cols: number,
  block: BlockShape = WEIGHT_BLOCK,
): Float32Array {
  const [down, across] = blockCounts(rows, cols, block);
  checkLength('codes', codes.length, rows * cols, [rows, cols]);
  checkLength('scales', scales.length, down * across, [down, across]);
  const values = e4m3ToF32(codes);
  for (let row = 0; row < rows; row++) {
    const first = Math.floor(row / block.rows) * across;
    for (let b = 0; b < across; b++) {
      const scale = scales[first + b]!;
      const end = Math.min(cols, (b + 1) * block.cols) + row * cols;
      for (let i = row * cols + b * block.cols; i < end; i++) values[i]! *= scale;
    }
  }
  return values;
}

function checkLength(what: string, given: number, wanted: number, shape: readonly number[]): void {
  if (given === wanted) return;
  throw new TrainMoeError('bad-argument', `${what} has ${given} elements, but the shape [${shape}] needs ${wanted}.`);
}
