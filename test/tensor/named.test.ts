import { describe, expect, it } from 'vitest';
import { addon } from '../../src/native.js';
import { initialize, matrix, vector } from '../../src/nn/param.js';
import { AdamW } from '../../src/optim/adamw.js';
import {
  device,
  differentiate,
  empty,
  from,
  keep,
  memoryOf,
  named,
  parameter,
  permanent,
  record,
  type Tensor,
} from '../../src/tensor/index.js';

/* A tensor that finds no room is told with its place in the model. */

const cpu = device('cpu');

/** Runs `body` with room for a megabyte more. */
function short(body: () => unknown): unknown {
  addon.trimMemory(cpu.index);
  addon.limitMemory(cpu.index, memoryOf(cpu).live + 1_000_000);
  try {
    return body();
  } finally {
    addon.limitMemory(cpu.index, 0);
  }
}

const large = [1000, 1000] as const;
const noRoom = / has no room for an f32 tensor \[1000,1000\] \(4\.00 MB\)( of [a-z]+)?; held now: /;
const at = (place: string) => new RegExp(`^${place}: cpu-\\w+${noRoom.source}`);

describe('a tensor without room', () => {
  it('is told with the names around it, and only those', () => {
    const inside = () => named('layer 3', () => named('attend', () => empty(large)));
    expect(() => short(inside)).toThrow(at('layer 3/attend'));
    expect(() => short(() => empty(large))).toThrow(new RegExp(`^cpu-\\w+${noRoom.source}`));
  });

  it('is told with the op that goes back, and where that ran', () => {
    const x = parameter(from([1]));
    const back = () => void empty(large);
    const forward = () =>
      named('layer 3', () => ({ losses: [named('feed', () => record('square', [x], empty([1]), back))] }));
    expect(() => short(() => differentiate<{ losses: Tensor[] }>(forward))).toThrow(at('layer 3/feed/square backward'));
    x.dispose();
  });

  it('is told with the name of the parameter: weights and moments', () => {
    const spec = { layers: [{ up: matrix(large, 0.1) }] };
    expect(() => short(() => initialize(spec, { device: cpu, dtype: 'f32' }))).toThrow(at('layers\\.0\\.up'));
    const tensor = keep(empty(large));
    expect(() => short(() => new AdamW([{ name: 'layers.0.up', tensor, decay: true }]))).toThrow(at('layers\\.0\\.up'));
    tensor.dispose();
  });

  it('gives back what was made beside it for good', () => {
    const before = memoryOf(cpu).tensors;
    const small = keep(empty([10]));
    expect(() => short(() => permanent(() => [empty([10]), empty(large)]))).toThrow(noRoom);
    expect(memoryOf(cpu).tensors).toBe(before + 1);
    const [kept] = permanent(() => [empty([10])]);
    expect(memoryOf(cpu).tensors).toBe(before + 2);
    for (const tensor of [small, kept!]) tensor.dispose();
    const specs = { small: matrix([10, 10], 0.1), gain: vector(10, 1, { buffer: true }), large: matrix(large, 0.1) };
    expect(() => short(() => initialize(specs, { device: cpu, dtype: 'f32', seed: 1 }))).toThrow(noRoom);
    expect(memoryOf(cpu).tensors).toBe(before);
  });

  it('leaves other errors as they are', () => {
    expect(() => named('layer 3', () => empty([-1]))).toThrow(/^a dimension of -1 was given/);
  });
});
