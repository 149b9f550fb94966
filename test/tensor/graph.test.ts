import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as native from '../../src/native.gen.js';
import { addon, packageRoot } from '../../src/native.js';
import { linear } from '../../src/ops/linear.js';
import { rmsnorm } from '../../src/ops/rmsnorm.js';
import {
  type Device,
  type DeviceKind,
  device,
  differentiate,
  empty,
  from,
  gradientOfParameter,
  keep,
  memoryOf,
  parameter,
  Repeated,
  readLater,
  recordGraph,
  resetGradients,
  scope,
  type Tensor,
  zeros,
} from '../../src/tensor/index.js';
import { randomValues } from '../ops/harness.js';

const emulator = existsSync(join(packageRoot, 'build', 'Release', 'train_moe_emulator.so'));
const kinds: DeviceKind[] = emulator ? ['cpu', 'emulator'] : ['cpu'];

const draw = (shape: number[], seed: number, on: Device): Tensor =>
  from(Float32Array.from(randomValues(shape, seed)), shape, { device: on });

/** Forward and backward through a norm and a product, with tensors that come and go on the way. */
function makeWork(on: Device) {
  const x = keep(draw([6, 16], 1, on));
  const gain = parameter(draw([16], 2, on));
  const weight = parameter(draw([8, 16], 3, on));
  const ones = keep(from(new Float32Array(48).fill(1), [48], { device: on }));
  const body = () => {
    resetGradients([gain, weight]);
    const { losses } = differentiate(() => {
      const y = linear(rmsnorm(x, gain), weight);
      const loss = empty([1], { dtype: 'f64', device: on });
      native.dot({ id: loss.id, beta: 0 }, y, ones);
      native.sumSquares({ id: loss.id, beta: 1 }, [y]);
      return { losses: [y].map(() => loss) };
    });
    return losses[0]!;
  };
  const forward = () => scope(() => linear(rmsnorm(x, gain), weight).readBytes());
  const dispose = () => {
    for (const t of [x, gain, weight, ones]) t.dispose();
  };
  return { x, gain, weight, body, forward, dispose };
}

describe.each(kinds)('recorded work on %s', (kind) => {
  const on = device(kind);

  it('gives the bits of work that was not recorded, on what its inputs hold now', () => {
    const work = makeWork(on);
    const results = (launch: boolean) => {
      const graph = launch ? recordGraph(on, work.body) : undefined;
      return [11, 12, 13].map((seed) => {
        work.x.write(Float32Array.from(randomValues([6, 16], seed)));
        graph?.launch();
        const loss = graph?.result ?? keep(scope(work.body));
        const bits = [loss.readBytes(), ...[work.gain, work.weight].map((p) => gradientOfParameter(p)?.readBytes())];
        if (seed === 13) graph?.dispose();
        if (!graph) loss.dispose();
        return bits;
      });
    };
    expect(results(true)).toEqual(results(false));
    work.dispose();
  });

  it('records a copy of a megabyte, which is no kernel of ours, too', () => {
    const [x, y] = [keep(zeros([1 << 18], { device: on })), keep(zeros([1 << 18], { device: on }))];
    const graph = recordGraph(on, () => native.copy(y, x));
    x.write(new Float32Array(1 << 18).fill(3));
    expect(y.read()[5]).toBe(0);
    graph.launch();
    expect(y.read().every((v) => v === 3)).toBe(true);
    for (const held of [graph, x, y]) held.dispose();
  });

  it('keeps its memory to itself, whatever is made and freed between launches', () => {
    const work = makeWork(on);
    const before = memoryOf(on).live;
    const graph = recordGraph(on, () => linear(rmsnorm(work.x, work.gain), work.weight));
    expect(graph.facts.bytes).toBeGreaterThan(0);
    const held = memoryOf(on);
    expect(held.tags.graphs!.live).toBeGreaterThan(0); // the norm's output, which died inside
    expect(held.live - before).toBe(graph.facts.bytes);
    const expected = graph.result.readBytes();
    for (let i = 0; i < 3; i++) {
      // Blocks of every size that the graph knows: they must be others.
      const others = [48, 96, 6, 16, 1].map((n) => keep(zeros([n], { device: on })));
      graph.launch();
      for (const t of others) {
        expect([...t.read()].every((v) => v === 0)).toBe(true);
        t.dispose();
      }
      expect(graph.result.readBytes()).toEqual(expected);
    }
    graph.dispose();
    expect(memoryOf(on).live).toBe(before);
    expect(memoryOf(on).tags.graphs!.live).toBe(0);
    work.dispose();
  });

  it('holds what it reads, even when nobody else does', () => {
    const a = keep(from(Float32Array.of(1, 2, 3, 4), [4], { device: on }));
    const graph = recordGraph(on, () => {
      const y = empty([4], { device: on });
      native.add(y, a, a);
      return y;
    });
    a.dispose();
    scope(() => zeros([4], { device: on })); // would take the block if it were free
    graph.launch();
    expect([...graph.result.read()]).toEqual([2, 4, 6, 8]);
    graph.dispose();
  });

  it('refuses what it could not repeat, and records nothing after it', () => {
    const x = keep(zeros([4], { device: on }));
    expect(() => recordGraph(on, () => x.read())).toThrow(/a graph is being recorded.*copy before or after/);
    expect(() => recordGraph(on, () => readLater(x))).toThrow(/a graph is being recorded/);
    expect(() => recordGraph(on, () => from(Float32Array.of(1), [1], { device: on }))).toThrow(/being recorded/);
    expect(() => recordGraph(on, () => recordGraph(on, () => undefined))).toThrow(/graphs do not nest/);
    expect([...x.read()]).toEqual([0, 0, 0, 0]);
    x.dispose();
  });

  it('runs plainly first, records second, launches from then on', () => {
    const x = keep(zeros([4], { device: on }));
    const repeated = new Repeated<Tensor>(on);
    let calls = 0;
    for (let i = 0; i < 4; i++) {
      const y = repeated.run(() => {
        calls++;
        native.axpy({ id: x.id, beta: 1 }, x, 1);
        const copy = empty([4], x);
        native.copy(copy, x);
        return copy;
      });
      x.write(new Float32Array(4).fill(i + 1));
      expect(y.read()[0]).toBe(2 * i);
    }
    expect(calls).toBe(2);
    expect(repeated.facts).toMatchObject({ calls: 2, onDevice: kind === 'emulator' });
    repeated.dispose();
    x.dispose();
  });
});

describe('a read that is begun early', () => {
  it.each(kinds)('gives the values of its time (%s)', (kind) => {
    const x = keep(from(Float32Array.of(1, 2), [2], { device: device(kind) }));
    const first = readLater(x);
    x.write(Float32Array.of(3, 4));
    const second = readLater(x);
    expect([...second()]).toEqual([3, 4]);
    expect([...first()]).toEqual([1, 2]);
    expect(first).toThrow(/taken already/);
    x.dispose();
  });

  it('refuses types that have no array', () => {
    scope(() => expect(() => readLater(empty([2], { dtype: 'bf16' }))).toThrow(/this one is bf16/));
  });
});

it.skipIf(!emulator)('a graph knows one device', () => {
  const x = keep(zeros([4]));
  expect(() => recordGraph(device('emulator'), () => native.fill(x, 1))).toThrow(/another device is being recorded/);
  expect(addon.memory(x.device.index, false).live).toBeGreaterThan(0);
  x.dispose();
});
