import { describe, expect, it } from 'vitest';
import { addon } from '../../src/native.js';
import {
  type Device,
  type DType,
  from,
  parameter,
  type Shape,
  scope,
  sizeOf,
  type Tensor,
  vectorJacobian,
} from '../../src/tensor/index.js';

/*
 * One case per op serves every check: the op against its float64 definition on each instruction set and in both dtypes,
 * its gradient against finite differences of that definition, adding to a gradient that exists, equal bits for every
 * number of threads, and bad arguments. A file test/ops/NAME.case.ts exports `cases: OpCase[]`; ops.test.ts runs them all.
 */

/** Values in float64, row-major. */
export interface Values {
  readonly shape: Shape;
  readonly data: Float64Array;
}

/** One input of a case. Floats are normal unless `data` gives them; integers never get a gradient. */
export interface Input {
  readonly shape: Shape;
  readonly ints?: Int32Array;
  readonly data?: Float64Array;
  /** Standard deviation of the random values, 1 by default. */
  readonly scale?: number;
  /** Stays f32 when the case runs in bf16 (statistics, router, ...). */
  readonly f32?: boolean;
  /** False: no gradient is checked. */
  readonly grad?: boolean;
}

export interface OpCase {
  readonly name: string;
  readonly inputs: Readonly<Record<string, Input>>;
  /** The op under test; may return several tensors. Must be deterministic. */
  readonly run: (x: Record<string, Tensor>) => Tensor | readonly Tensor[];
  /** Its definition, in float64, one result per tensor that run() returns. Integers arrive as floats. */
  readonly reference: (x: Record<string, Values>) => Values | readonly Values[];
  /** Largest error relative to the largest value; defaults f32 2e-5, bf16 2e-2, gradients twice that and more. */
  readonly tolerance?: { readonly f32?: number; readonly bf16?: number; readonly gradient?: number };
  /** Dtypes to run; default both. */
  readonly dtypes?: readonly ('f32' | 'bf16')[];
  /** Calls that must fail, and what the sentence must say. */
  readonly bad?: readonly { readonly what: string; readonly call: () => unknown; readonly says: RegExp }[];
}

/** A small deterministic generator (SplitMix64 on doubles) for test values. */
export function randomValues(shape: Shape, seed: number, scale = 1): Float64Array {
  let state = BigInt(seed) * 0x9e3779b97f4a7c15n + 1n;
  const uniform = () => {
    state = (state + 0x9e3779b97f4a7c15n) & 0xffffffffffffffffn;
    let z = state;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & 0xffffffffffffffffn;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & 0xffffffffffffffffn;
    return (Number((z ^ (z >> 31n)) >> 11n) + 0.5) / 2 ** 53;
  };
  return Float64Array.from(
    { length: sizeOf(shape) },
    () => scale * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

/** Every CPU backend that this machine runs. */
export function devices(): Device[] {
  return addon.hostInfo().isas.map((isa) => ({ ...addon.openCpu(isa), kind: 'cpu' as const }));
}

/** max|a-b| / max|b| (absolute where b is 0 throughout). */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i]!;
    const e = expected[i]!;
    if (a === e) continue;
    if (Number.isNaN(a) !== Number.isNaN(e)) return Infinity;
    difference = Math.max(difference, Math.abs(a - e));
    largest = Math.max(largest, Math.abs(e));
  }
  for (let i = 0; i < expected.length; i++)
    if (Number.isFinite(expected[i]!)) largest = Math.max(largest, Math.abs(expected[i]!));
  return difference / (largest || 1);
}

const list = <T>(x: T | readonly T[]): readonly T[] => (Array.isArray(x) ? x : [x as T]);

/** Rounds to f32 or bf16, so that the reference sees the numbers that the op sees. */
function rounded(values: Float64Array, dtype: DType): Float64Array {
  return scope(() => Float64Array.from(from(Float32Array.from(values), [values.length], { dtype }).read()));
}

interface Prepared {
  readonly tensors: Record<string, Tensor>;
  readonly values: Record<string, Values>;
}

function prepare(opCase: OpCase, dtype: 'f32' | 'bf16', device: Device): Prepared {
  const tensors: Record<string, Tensor> = {};
  const values: Record<string, Values> = {};
  let seed = 1;
  for (const [name, input] of Object.entries(opCase.inputs)) {
    seed++;
    if (input.ints) {
      tensors[name] = from(input.ints, input.shape, { device });
      values[name] = { shape: input.shape, data: Float64Array.from(input.ints) };
      continue;
    }
    const own = input.f32 ? 'f32' : dtype;
    const data = rounded(input.data ?? randomValues(input.shape, seed, input.scale), own);
    const tensor = from(Float32Array.from(data), input.shape, { dtype: own, device });
    tensors[name] = input.grad === false ? tensor : parameter(tensor);
    values[name] = { shape: input.shape, data };
  }
  return { tensors, values };
}

const readAny = (t: Tensor): ArrayLike<number> =>
  t.dtype === 'i32' ? t.readInts() : t.dtype === 'f64' ? t.readDoubles() : t.read();

export function checkForward(opCase: OpCase, dtype: 'f32' | 'bf16', device: Device): void {
  scope(() => {
    const { tensors, values } = prepare(opCase, dtype, device);
    const results = list(opCase.run(tensors));
    const expected = list(opCase.reference(values));
    const tolerance = opCase.tolerance?.[dtype] ?? (dtype === 'f32' ? 2e-5 : 2e-2);
    expect(results.length).toBe(expected.length);
    results.forEach((y, i) => {
      expect(y.shape, `shape of result ${i}`).toEqual(expected[i]!.shape);
      expect(relativeError(readAny(y), expected[i]!.data), `result ${i} of ${opCase.name} in ${dtype}`).toBeLessThan(
        tolerance,
      );
    });
    for (const t of Object.values(tensors)) t.dispose();
  });
}

const isFloat = (t: Tensor) => t.dtype === 'f32' || t.dtype === 'bf16';

/** Gradients of sum(c * y) over all float results, by the tape and by central differences of the reference. */
export function checkGradient(opCase: OpCase, dtype: 'f32' | 'bf16', device: Device): void {
  scope(() => {
    const { tensors, values } = prepare(opCase, dtype, device);
    const names = Object.keys(tensors).filter((n) => tensors[n]!.requiresGrad);
    const weights: Float64Array[] = [];
    const differentiateOnce = () =>
      scope(() => {
        const probe = list(opCase.run(tensors));
        const dys = probe.map((y, i) => {
          weights[i] = isFloat(y) ? rounded(randomValues(y.shape, 100 + i), y.dtype) : new Float64Array(y.size);
          return from(Float32Array.from(weights[i]!), y.shape, {
            dtype: isFloat(y) ? (y.dtype as 'f32') : 'f32',
            device,
          });
        });
        vectorJacobian(() => list(opCase.run(tensors)), dys);
      });
    differentiateOnce();
    const loss = () =>
      list(opCase.reference(values)).reduce(
        (sum, y, i) => sum + y.data.reduce((s, v, j) => s + v * weights[i]![j]!, 0),
        0,
      );
    const tolerance = opCase.tolerance?.gradient ?? (dtype === 'f32' ? 1e-4 : 4e-2);
    for (const name of names) {
      const numeric = finiteDifferences(values[name]!.data, loss);
      const mine = tensors[name]!.gradient!.value(tensors[name]!.shape);
      expect(mine, `${name} has a gradient`).toBeDefined();
      expect(relativeError(mine!.read(), numeric), `gradient of ${name} in ${dtype}`).toBeLessThan(tolerance);
    }
    // A second pass adds to what is there.
    const once = names.map((n) => tensors[n]!.gradient!.value(tensors[n]!.shape)!.read());
    differentiateOnce();
    names.forEach((n, i) => {
      const twice = tensors[n]!.gradient!.value(tensors[n]!.shape)!.read();
      expect(
        relativeError(
          twice,
          once[i]!.map((v) => 2 * v),
        ),
        `accumulated gradient of ${n}`,
      ).toBeLessThan(1e-6 + (dtype === 'bf16' ? 1e-2 : 0));
    });
    for (const t of Object.values(tensors)) t.dispose();
  });
}

function finiteDifferences(x: Float64Array, loss: () => number): Float64Array {
  const h = 1e-5;
  return x.map((value, i) => {
    x[i] = value + h;
    const up = loss();
    x[i] = value - h;
    const down = loss();
    x[i] = value;
    return (up - down) / (2 * h);
  });
}

/** Every result and gradient, as bytes. */
export function bitsOf(opCase: OpCase, dtype: 'f32' | 'bf16', device: Device): Uint8Array[] {
  return scope(() => {
    const { tensors } = prepare(opCase, dtype, device);
    const bits: Uint8Array[] = [];
    const probe = list(opCase.run(tensors));
    const dys = probe.map((y, i) =>
      from(Float32Array.from(randomValues(y.shape, 100 + i)), y.shape, {
        dtype: isFloat(y) ? (y.dtype as 'f32') : 'f32',
        device,
      }),
    );
    for (const y of vectorJacobian(() => list(opCase.run(tensors)), dys)) bits.push(y.readBytes());
    for (const t of Object.values(tensors)) {
      const g = t.gradient?.value(t.shape);
      if (g) bits.push(g.readBytes());
      t.dispose();
    }
    return bits;
  });
}

/** Registers all checks of a list of cases. */
export function testOps(cases: readonly OpCase[]): void {
  for (const opCase of cases) {
    describe(opCase.name, () => {
      for (const device of devices()) {
        for (const dtype of opCase.dtypes ?? (['f32', 'bf16'] as const)) {
          it(`equals its definition (${device.name}, ${dtype})`, () => checkForward(opCase, dtype, device));
          if (Object.values(opCase.inputs).some((i) => !i.ints && i.grad !== false))
            it(`goes back as finite differences say (${device.name}, ${dtype})`, () =>
              checkGradient(opCase, dtype, device));
        }
      }
      it('gives the same bits with 1, 2, 3 and 5 threads', () => {
        const before = addon.hostInfo().threads;
        try {
          const dtype = opCase.dtypes?.[0] ?? 'f32';
          const runs = [1, 2, 3, 5].map((threads) => {
            addon.setThreads(threads);
            return bitsOf(opCase, dtype, devices().at(-1)!);
          });
          for (const run of runs) expect(run).toEqual(runs[0]);
        } finally {
          addon.setThreads(before);
        }
      });
      for (const bad of opCase.bad ?? []) it(`refuses ${bad.what}`, () => expect(bad.call).toThrow(bad.says));
    });
  }
}
