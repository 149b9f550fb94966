import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import * as native from '../../src/native.gen.js';
import { AdamW, type AdamWConfig } from '../../src/optim/adamw.js';
import { type Device, from, keep, parameter, scope, type Tensor } from '../../src/tensor/index.js';
import { devices, relativeError } from '../ops/harness.js';
import { sharedPath } from '../shared.js';

const golden = sharedPath('golden/adamw.safetensors');
const CONFIG: AdamWConfig = { beta1: 0.9, beta2: 0.95, eps: 1e-8, decay: 0.1, moments: 'f32' };

interface Stored {
  readonly shape: number[];
  readonly data: Float64Array;
}

/** The F64 and F32 tensors of a safetensors file: 8 bytes of header length, JSON, data. */
function readGolden(path: string): Record<string, Stored> {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const out: Record<string, Stored> = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [from, to] = entry.data_offsets;
    const raw = new Uint8Array(bytes.subarray(start + from, start + to)).buffer;
    out[name] = {
      shape: entry.shape,
      data: entry.dtype === 'F64' ? new Float64Array(raw) : Float64Array.from(new Float32Array(raw)),
    };
  }
  return out;
}

/** Part `step` of a tensor that is stacked over steps. */
function at({ shape, data }: Stored, step: number): { shape: number[]; data: Float32Array } {
  const size = data.length / shape[0]!;
  return { shape: shape.slice(1), data: Float32Array.from(data.subarray(step * size, (step + 1) * size)) };
}

const KEYS = ['a', 'b', 'c'];

function setGradient(p: Tensor, values: Float32Array): void {
  native.axpy(p.gradient!.accumulate(p.shape), from(values, p.shape, { device: p.device }), 1);
}

/** Runs the golden's steps; returns the parameters after each, the norms, and the optimizer. */
function follow(g: Record<string, Stored>, prefix: string, clip: number, device: Device) {
  const parameters = KEYS.map((k) => {
    const { shape, data } = at(g[`${prefix}param.${k}`]!, 0);
    return { name: k, tensor: parameter(from(data, shape, { device })), decay: true };
  });
  const optimizer = new AdamW(parameters, CONFIG, device);
  const rates = g.lr!.data;
  const norms: number[] = [];
  const history = Array.from(rates, (lr, step) =>
    scope(() => {
      optimizer.resetGradients();
      for (const { name, tensor } of parameters)
        setGradient(tensor, at(g[`${prefix}grad.${name}`] ?? g[`grad.${name}`]!, step).data);
      if (clip > 0) norms.push(optimizer.clip(clip).norm);
      optimizer.step(lr);
      return parameters.map((p) => p.tensor.read());
    }),
  );
  return { history, norms, optimizer, parameters };
}

describe.skipIf(!golden)('AdamW follows torch.optim.AdamW in float64 (needs ../shared/golden)', () => {
  for (const device of devices())
    for (const [prefix, clip] of [
      ['', 0],
      ['clipped.', 1],
    ] as const)
      it(`${clip ? 'with the global norm clipped to 1' : 'unclipped'}, to f32 rounding (${device.name})`, () => {
        const g = readGolden(golden!);
        const { history, norms, optimizer } = follow(g, prefix, clip, device);
        KEYS.forEach((k, i) => {
          history.forEach((values, step) => {
            // A step changes a parameter by about lr: rounding of p itself, once a step, is all that may differ.
            expect(
              relativeError(values[i]!, at(g[`${prefix}param.${k}`]!, step + 1).data),
              `${k}, step ${step}`,
            ).toBeLessThan(6e-8 * (step + 3));
          });
          const state = new Map(optimizer.state());
          expect(relativeError(state.get(`m.${k}`)!.read(), g[`${prefix}exp_avg.${k}`]!.data)).toBeLessThan(1e-6);
          expect(relativeError(state.get(`v.${k}`)!.read(), g[`${prefix}exp_avg_sq.${k}`]!.data)).toBeLessThan(1e-6);
        });
        if (clip) expect(relativeError(norms, g['clipped.norm']!.data)).toBeLessThan(1e-6);
        optimizer.dispose();
      });
});

const values = (n: number, f: (i: number) => number) => Float32Array.from({ length: n }, (_, i) => f(i));

function trainBf16(config: AdamWConfig, steps: number, device: Device, gradient: number) {
  const tensor = parameter(
    from(
      values(20, (i) => 1 + i / 7),
      [20],
      { dtype: 'bf16', device },
    ),
  );
  const optimizer = new AdamW([{ name: 'w', tensor, decay: false }], config, device);
  for (let i = 0; i < steps; i++)
    scope(() => {
      optimizer.resetGradients();
      setGradient(
        tensor,
        values(20, () => gradient),
      );
      optimizer.step(1e-4);
    });
  return { tensor, optimizer };
}

describe('AdamW', () => {
  for (const device of devices()) {
    it(`moves an f32 master by steps that bf16 could not hold, and copies it out (${device.name})`, () => {
      const { tensor, optimizer } = trainBf16(CONFIG, 50, device, 1);
      const master = optimizer.masterOf(tensor);
      // A constant gradient moves every value by lr a step.
      expect(
        relativeError(
          master.read(),
          values(20, (i) => bf16(1 + i / 7) - 50e-4),
        ),
      ).toBeLessThan(1e-5);
      expect([...tensor.read()]).toEqual([...master.read()].map(bf16));
      optimizer.dispose();
    });

    it(`keeps moments in bf16 within their rounding (${device.name})`, () => {
      const narrow = trainBf16({ ...CONFIG, moments: 'bf16' }, 20, device, 0.3);
      const wide = trainBf16(CONFIG, 20, device, 0.3);
      const [m] = narrow.optimizer.state().filter(([name]) => name === 'm.w');
      expect(m![1].dtype).toBe('bf16');
      const moved = (x: typeof narrow) =>
        x.optimizer
          .masterOf(x.tensor)
          .read()
          .map((p, i) => p - bf16(1 + i / 7));
      expect(relativeError(moved(narrow), moved(wide))).toBeLessThan(0.05);
      narrow.optimizer.dispose();
      wide.optimizer.dispose();
    });
  }

  it('leaves decay out where it is told to, and a parameter without a gradient alone', () => {
    const device = devices().at(-1)!;
    const make = () => parameter(from(Float32Array.of(2, -3), [2], { device }));
    const [decayed, plain, idle] = [make(), make(), make()];
    const optimizer = new AdamW(
      [
        { name: 'decayed', tensor: decayed!, decay: true },
        { name: 'plain', tensor: plain!, decay: false },
        { name: 'idle', tensor: idle!, decay: true },
      ],
      CONFIG,
      device,
    );
    scope(() => {
      for (const p of [decayed!, plain!]) setGradient(p, Float32Array.of(0, 0));
      optimizer.step(0.5);
    });
    expect(relativeError(decayed!.read(), [2 * 0.95, -3 * 0.95])).toBeLessThan(1e-7);
    expect([...plain!.read()]).toEqual([2, -3]);
    expect([...idle!.read()]).toEqual([2, -3]);
    optimizer.dispose();
  });

  it('does not clip at 0 or below the limit, and reports the norm', () => {
    const device = devices().at(-1)!;
    const p = parameter(from(Float32Array.of(0, 0), [2], { device }));
    const optimizer = new AdamW([{ name: 'p', tensor: p, decay: false }], CONFIG, device);
    scope(() => setGradient(p, Float32Array.of(3, 4)));
    expect(optimizer.clip(0).norm).toBe(5);
    expect(optimizer.clip(6).norm).toBe(5);
    scope(() => optimizer.step(1));
    // m = (1 - beta1) g: unclipped.
    expect(relativeError(new Map(optimizer.state()).get('m.p')!.read(), [0.3, 0.4])).toBeLessThan(1e-6);
    optimizer.dispose();
  });

  it('goes on from saved state to the same bits', () => {
    const device = devices().at(-1)!;
    const whole = trainBf16(CONFIG, 7, device, 0.2);
    const first = trainBf16(CONFIG, 4, device, 0.2);
    const saved = new Map(first.optimizer.state().map(([name, t]) => [name, t.readBytes()]));
    const second = trainBf16(CONFIG, 0, device, 0);
    second.optimizer.restore(first.optimizer.steps, (name, into) => {
      const bytes = saved.get(name);
      if (bytes) into.writeBytes(bytes);
      return bytes !== undefined;
    });
    for (let i = 0; i < 3; i++)
      scope(() => {
        second.optimizer.resetGradients();
        setGradient(
          second.tensor,
          values(20, () => 0.2),
        );
        second.optimizer.step(1e-4);
      });
    expect(second.tensor.readBytes()).toEqual(whole.tensor.readBytes());
    expect(second.optimizer.masterOf(second.tensor).readBytes()).toEqual(
      whole.optimizer.masterOf(whole.tensor).readBytes(),
    );
    expect(() => second.optimizer.restore(1, () => false)).toThrow(/lacks master\.w/);
    for (const x of [whole, first, second]) x.optimizer.dispose();
  });
});

function bf16(x: number): number {
  return scope(() => keep(from(Float32Array.of(x), [1], { dtype: 'bf16' })).read()[0]!);
}
