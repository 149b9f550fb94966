import { describe, expect, it } from 'vitest';
import * as native from '../../src/native.gen.js';
import { AdamW, type AdamWConfig } from '../../src/optim/adamw.js';
import { type Device, from, parameter, scope, type Tensor, zeros } from '../../src/tensor/index.js';
import { devices, randomValues } from '../ops/harness.js';

/*
 * Moments in 8 bits and parameters that are rounded at random, against the rule in float64.
 */

const CONFIG: AdamWConfig = { beta1: 0.9, beta2: 0.95, eps: 1e-8, decay: 0.1, moments: 'u8' };
const BLOCK = 256;

/** What a code of `bits` bits stands for: decade e holds 2^e steps from a tenth of 10^(e+1-bits) to it, the first from 0. */
function worthOf(code: number, bits: number): number {
  if (code === 0) return 0;
  const e = Math.floor(Math.log2(code));
  const top = 10 ** (e + 1 - bits);
  const bottom = e === 0 ? 0 : top / 10;
  return bottom + ((top - bottom) * (code - (2 ** e - 1))) / 2 ** e;
}

/** The moments that the state's bytes stand for. */
function momentsOf(optimizer: AdamW, name: string): { m: number[]; v: number[] } {
  const state = new Map(optimizer.state());
  const [m, root] = [state.get(`m.${name}`)!.readBytes(), state.get(`root.${name}`)!.readBytes()];
  const [ms, rs] = [state.get(`m_scale.${name}`)!.read(), state.get(`root_scale.${name}`)!.read()];
  const at = (i: number) => Math.floor(i / BLOCK);
  return {
    m: Array.from(m, (byte, i) => (byte & 128 ? -1 : 1) * worthOf(byte & 127, 7) * ms[at(i)]!),
    v: Array.from(root, (byte, i) => (worthOf(byte, 8) * rs[at(i)]!) ** 2),
  };
}

interface Run {
  readonly tensor: Tensor;
  readonly optimizer: AdamW;
}

function start(device: Device, values: Float32Array, config = CONFIG, dtype: 'f32' | 'bf16' = 'f32'): Run {
  const tensor = parameter(from(values, [values.length], { dtype, device }));
  return { tensor, optimizer: new AdamW([{ name: 'w', tensor, decay: true }], config, device) };
}

function step({ tensor, optimizer }: Run, gradient: Float32Array, lr: number): void {
  scope(() => {
    optimizer.resetGradients();
    native.axpy(tensor.gradient!.accumulate(tensor.shape), from(gradient, tensor.shape, { device: tensor.device }), 1);
    optimizer.step(lr);
  });
}

const mean = (x: ArrayLike<number>) => Array.from(x).reduce((a, b) => a + b, 0) / x.length;
const rms = (x: readonly number[]) => Math.sqrt(mean(x.map((v) => v * v)));

/** AdamW in float64. */
function reference(start: Float32Array, gradients: readonly Float32Array[], lr: number) {
  const { beta1, beta2, eps, decay } = CONFIG;
  const [p, m, v] = [Array.from(start), start.map(() => 0), start.map(() => 0)].map((x) => Array.from(x)) as number[][];
  gradients.forEach((g, t) => {
    g.forEach((d, i) => {
      m![i] = beta1 * m![i]! + (1 - beta1) * d;
      v![i] = beta2 * v![i]! + (1 - beta2) * d * d;
      const rate = Math.sqrt(v![i]! / (1 - beta2 ** (t + 1))) + eps;
      p![i] = p![i]! - lr * decay * p![i]! - (lr * m![i]!) / (1 - beta1 ** (t + 1)) / rate;
    });
  });
  return { p: p!, m: m!, v: v! };
}

describe.each(devices())('AdamW with 8-bit moments on $name', (device) => {
  it('follows float64: moments within their steps, parameters by a few hundredths of what they moved', () => {
    const size = 1000; // three whole blocks and a part
    const begin = Float32Array.from(randomValues([size], 1));
    const gradients = Array.from({ length: 25 }, (_, t) =>
      Float32Array.from(randomValues([size], 10 + t), (x, i) => 0.01 * (x + 0.5) * (1 + (i % 7))),
    );
    const run = start(device, begin);
    for (const g of gradients) step(run, g, 1e-3);
    const exact = reference(begin, gradients, 1e-3);
    const { m, v } = momentsOf(run.optimizer, 'w');
    // Near a block's largest values a step is 1.4 % of m's scale and 0.7 % of the root's; errors of earlier steps fade.
    const largest = Math.max(...exact.m.map(Math.abs));
    expect(Math.max(...m.map((x, i) => Math.abs(x - exact.m[i]!)))).toBeLessThan(0.05 * largest);
    const root = Math.max(...exact.v.map(Math.sqrt));
    expect(Math.max(...v.map((x, i) => Math.abs(Math.sqrt(x) - Math.sqrt(exact.v[i]!))))).toBeLessThan(0.05 * root);
    const mine = run.tensor.read();
    const moved = rms(exact.p.map((p, i) => p - begin[i]!));
    expect(rms(exact.p.map((p, i) => p - mine[i]!))).toBeLessThan(0.05 * moved);
    run.optimizer.dispose();
  });

  it('rounds moments right on average: small ones beside a large one keep their mean', () => {
    const size = 64 * BLOCK;
    const run = start(device, new Float32Array(size));
    step(
      run,
      Float32Array.from({ length: size }, (_, i) => (i % BLOCK === 0 ? 1 : 0.0123)),
      0,
    );
    const small = (x: readonly number[]) => x.filter((_, i) => i % BLOCK !== 0);
    const { m, v } = momentsOf(run.optimizer, 'w');
    expect(new Set(small(m)).size).toBe(2); // the two codes beside it
    // A step is 23 % of m here and 11 % of the root; over 16320 draws the mean's deviation is 0.1 %.
    expect(Math.abs(mean(small(m)) / (0.1 * 0.0123) - 1)).toBeLessThan(0.005);
    expect(Math.abs(mean(small(v).map(Math.sqrt)) / (Math.sqrt(0.05) * 0.0123) - 1)).toBeLessThan(0.005);
    run.optimizer.dispose();
  });

  it('stays bounded where gradients of one block differ by many decades', () => {
    const size = BLOCK;
    const run = start(device, new Float32Array(size));
    const tiny = Float32Array.from({ length: size }, (_, i) => 10 ** -(i % 12));
    for (let t = 0; t < 30; t++) step(run, t % 3 === 0 ? tiny : tiny.map((x) => -x), 1e-3);
    // A step of Adam moves a parameter by some lr; ten of them bound what noise in tiny moments may add.
    expect(Math.max(...Array.from(run.tensor.read(), Math.abs))).toBeLessThan(30 * 1e-3 * 10);
    run.optimizer.dispose();
  });

  it('refuses scales of another count', () => {
    const t = (n: number, dtype: 'f32' | 'f64' | 'u8' = 'f32') => zeros([n], { dtype, device });
    const rates = () => t(4, 'f64');
    expect(() =>
      scope(() =>
        native.adamw8bit(
          [t(300)],
          [undefined],
          [t(300)],
          [t(300, 'u8')],
          [t(300, 'u8')],
          [t(1)],
          [t(1)],
          [0],
          t(1),
          rates(),
          0.9,
          0.95,
          1e-8,
        ),
      ),
    ).toThrow(/m_scale has 1 scales, but 300 parameters have 2 blocks of 256/);
  });
});

describe.each(devices())('AdamW without masters on $name', (device) => {
  for (const moments of ['f32', 'bf16', 'u8'] as const)
    it(`rounds bf16 parameters right on average: steps far below their precision add up (${moments} moments)`, () => {
      const size = 4096;
      const config: AdamWConfig = { ...CONFIG, moments, master: false, decay: 0 };
      const run = start(device, new Float32Array(size).fill(1), config, 'bf16');
      for (let t = 0; t < 40; t++) step(run, new Float32Array(size).fill(0.5), 1e-4);
      expect(run.optimizer.masterOf(run.tensor)).toBe(run.tensor);
      // 40 steps of 1e-4; the next bf16 below 1 is 1 - 3.9e-3. The deviation of the mean is 1.5 % of the way.
      expect(Math.abs((1 - mean(run.tensor.read())) / 40e-4 - 1)).toBeLessThan(0.08);
      run.optimizer.dispose();
    });

  it('goes on from saved state to the same bits', () => {
    const config: AdamWConfig = { ...CONFIG, master: false };
    const begin = Float32Array.from(randomValues([700], 3));
    const gradient = (t: number) => Float32Array.from(randomValues([700], 20 + t));
    const [whole, first, second] = [0, 1, 2].map(() => start(device, begin, config, 'bf16')) as [Run, Run, Run];
    for (let t = 0; t < 6; t++) step(whole, gradient(t), 1e-2);
    for (let t = 0; t < 4; t++) step(first, gradient(t), 1e-2);
    const saved = new Map(first.optimizer.state().map(([name, t]) => [name, t.readBytes()]));
    expect([...saved.keys()]).toEqual(['m.w', 'root.w', 'm_scale.w', 'root_scale.w']);
    second.tensor.writeBytes(first.tensor.readBytes());
    second.optimizer.restore(first.optimizer.steps, (name, into) => {
      into.writeBytes(saved.get(name)!);
      return true;
    });
    for (let t = 4; t < 6; t++) step(second, gradient(t), 1e-2);
    expect(second.tensor.readBytes()).toEqual(whole.tensor.readBytes());
    for (const run of [whole, first, second]) run.optimizer.dispose();
  });
});
