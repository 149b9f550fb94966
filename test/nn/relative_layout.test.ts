import { describe, expect, it } from 'vitest';
import { type RelativePass, type RelativeSettings, relativeValues, type Sight } from '../../src/nn/relative_layout.js';

const plain: RelativeSettings = { causal: false, sameLength: false, clampLength: 0, reversedHalf: false };
const values = (s: Partial<RelativeSettings>, pass: Partial<RelativePass>) =>
  relativeValues({ ...plain, ...s }, { rows: 1, length: 3, memory: 0, ...pass });

/** Of each key that row r sees: its place, and its distance from the row. */
function seen({ distances, reach }: ReturnType<typeof values>, of: Sight<Int32Array, Uint8Array>, r: number) {
  const [first, end] = [of.ranges[2 * r]!, of.ranges[2 * r + 1]!];
  const columns = (of.hidden?.length ?? 0) / of.offsets.length;
  return Array.from({ length: end - first }, (_, j) => j)
    .filter((j) => !of.hidden?.[r * columns + j])
    .map((j) => [first + j, distances[of.offsets[r]! + j]! - reach]);
}

describe('rows and keys of attention by distances', () => {
  it('see everything, a memory before themselves', () => {
    const v = values({}, { memory: 2, types: Int32Array.of(1, 1, 2) });
    expect(seen(v, v.content, 1)).toEqual([
      [0, 3],
      [1, 2],
      [2, 1],
      [3, 0],
      [4, -1],
    ]);
    expect([...v.keyTypes!]).toEqual([0, 0, 1, 1, 2]);
    expect(v.query).toBeUndefined();
  });

  it('see what came before, or equally far back', () => {
    const causal = values({ causal: true }, { memory: 2 });
    expect(seen(causal, causal.content, 1).map(([, d]) => d)).toEqual([3, 2, 1, 0]);
    const same = values({ causal: true, sameLength: true }, { memory: 2, rows: 2 });
    for (const r of [0, 1, 2, 3, 4, 5]) expect(seen(same, same.content, r).map(([, d]) => d)).toEqual([2, 1, 0]);
    expect(seen(same, same.content, 5).map(([s]) => s)).toEqual([7, 8, 9]);
  });

  it('see no padding, but themselves; causal windows hide the same keys', () => {
    const mask = [0, 1, 1];
    const v = values({}, { mask, memory: 1 });
    expect(seen(v, v.content, 0).map(([s]) => s)).toEqual([0, 1, 2, 3]);
    expect(seen(v, v.content, 2).map(([s]) => s)).toEqual([0, 2, 3]);
    const same = values({ causal: true, sameLength: true }, { mask, memory: 2 });
    expect(seen(same, same.content, 1).map(([s]) => s)).toEqual([1, 3]);
  });

  it('follow an order in which a target does not see its own place, which its word does', () => {
    const permutation = [0, 1, 1, 0, 1, 1, 0, 0, 1]; // first, second, third: each sees those before it
    const v = values({}, { permutation, targets: Int32Array.of(2, -1), types: Int32Array.of(0, 1, 2) });
    expect(seen(v, v.content, 1).map(([s]) => s)).toEqual([0, 1]);
    expect(seen(v, v.query!, 0)).toEqual([
      [0, 2],
      [1, 1],
    ]);
    expect(seen(v, v.query!, 1)).toEqual([]);
    expect(v.query!.types![0]).toBe(2);
  });

  it('count distances backwards in the later half, and no further than the clamp', () => {
    const v = values({ reversedHalf: true, clampLength: 1 }, { rows: 2 });
    expect(seen(v, v.content, 0).map(([, d]) => d)).toEqual([0, -1, -1]);
    expect(seen(v, v.content, 3)).toEqual([
      [3, 0],
      [4, 1],
      [5, 1],
    ]);
  });
});
