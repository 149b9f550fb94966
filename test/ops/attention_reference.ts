import type { Values } from './harness.js';

export interface Attend {
  readonly q: Values; // [R,H,D]
  readonly k: Values; // [S,G,N]
  readonly v: Values; // [S,G,V]
  readonly kShared?: Values | undefined; // [S,D-N]
  readonly ranges: ArrayLike<number>; // [R,2]
  readonly scale: number;
}

/** softmax(scale * q k^T) v over the keys that each row sees, in float64; zeros for a row that sees none. */
export function attend({ q, k, v, kShared, ranges, scale }: Attend): Values {
  const [rows, heads, depth] = q.shape as [number, number, number];
  const [, groups, own] = k.shape as [number, number, number];
  const width = v.shape[2]!;
  const y = new Float64Array(rows * heads * width);
  for (let r = 0; r < rows; r++)
    for (let h = 0; h < heads; h++) {
      const group = Math.floor(h / (heads / groups));
      const first = ranges[2 * r]!;
      const scores = Float64Array.from({ length: Math.max(0, ranges[2 * r + 1]! - first) }, (_, j) => {
        const s = first + j;
        let dot = 0;
        for (let d = 0; d < depth; d++) {
          const key = d < own ? k.data[(s * groups + group) * own + d]! : kShared!.data[s * (depth - own) + d - own]!;
          dot += q.data[(r * heads + h) * depth + d]! * key;
        }
        return scale * dot;
      });
      const highest = Math.max(...scores);
      const weights = scores.map((s) => Math.exp(s - highest));
      const total = weights.reduce((a, b) => a + b, 0);
      for (let c = 0; c < width; c++) {
        let sum = 0;
        for (let j = 0; j < weights.length; j++)
          sum += weights[j]! * v.data[((first + j) * groups + group) * width + c]!;
        if (weights.length > 0) y[(r * heads + h) * width + c] = sum / total;
      }
    }
  return { shape: [rows, heads, width], data: y };
}
