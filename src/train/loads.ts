import type { StepResult } from './step.js';

/** The largest load of an expert over the mean of its layer's, of the worst layer; undefined without routed layers. */
export function worstImbalance(loads: StepResult['loads']): number | undefined {
  if (loads.size === 0) return undefined;
  const ofLayer = (load: Float64Array): number => {
    const total = load.reduce((a, b) => a + b, 0);
    return (Math.max(...load) * load.length) / Math.max(total, 1);
  };
  return Math.max(...[...loads.values()].map(ofLayer));
}

/** Expert loads with older steps fading out (half-life about 35 steps). */
export class RecentLoads {
  private readonly sums = new Map<number, Float64Array>();

  add(loads: StepResult['loads']): void {
    for (const [layer, load] of loads) {
      const sum = this.sums.get(layer) ?? new Float64Array(load.length);
      this.sums.set(
        layer,
        sum.map((s, e) => 0.98 * s + load[e]!),
      );
    }
  }

  shares(): [number, number[]][] {
    return [...this.sums].map(([layer, sum]) => {
      const total = sum.reduce((a, b) => a + b, 0);
      return [layer, [...sum].map((s) => s / total)];
    });
  }
}
