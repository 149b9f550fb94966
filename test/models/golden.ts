import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSafetensors } from '../../src/hub/safetensors.js';

/** The tensors of a golden file, as numbers with their shapes. */
export interface Golden {
  has(name: string): boolean;
  names(): string[];
  floats(name: string): Float64Array;
  ints(name: string): Int32Array;
  shape(name: string): readonly number[];
}

export function openGolden(folder: string): Golden {
  const file = openSafetensors(join(folder, 'golden.safetensors'));
  const at = (name: string) => {
    const tensor = file.tensors.get(name);
    if (!tensor) throw new Error(`the golden has no ${name}`);
    return tensor;
  };
  const aligned = (name: string) => at(name).read().slice().buffer;
  return {
    has: (name) => file.tensors.has(name),
    names: () => [...file.tensors.keys()],
    floats: (name) =>
      at(name).dtype === 'F64' ? new Float64Array(aligned(name)) : Float64Array.from(new Float32Array(aligned(name))),
    ints: (name) => new Int32Array(aligned(name)),
    shape: (name) => at(name).shape,
  };
}

/** The names of the golden cases that the manifest lists for these prefixes. */
export function goldenCases(root: string, prefixes: readonly string[]): string[] {
  const manifest = JSON.parse(readFileSync(join(root, 'manifest.json'), 'utf8')) as { cases: Record<string, unknown> };
  return Object.keys(manifest.cases).filter((name) => prefixes.some((p) => name.startsWith(p)));
}

/** max|a - b| / max|b|, or over `atLeast` when b is smaller. */
export function maxError(actual: ArrayLike<number>, expected: ArrayLike<number>, atLeast = 0): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let largest = atLeast;
  for (let i = 0; i < expected.length; i++) {
    const d = Math.abs(actual[i]! - expected[i]!);
    if (!(d <= difference)) difference = d; // also when d is NaN
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return difference / (largest || 1);
}
