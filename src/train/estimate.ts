import type { Model } from '../models/family.js';
import * as native from '../native.gen.js';
import { namedParams } from '../nn/param.js';
import type { AdamWConfig } from '../optim/adamw.js';
import { type Device, empty, scope, sizeOf, synchronize, tagged } from '../tensor/index.js';

/**
 * FLOPs that one trained token costs: 6 per active parameter, and causal attention over half the window three times. In encoders
 * attention is over the whole window, and the head reads hidden tokens only, a share `masked` of all; in XLNet that share is a
 * second stream, and the window has a memory.
 */
export function flopsPerToken({ family, config, weights }: Model, length: number, masked: number): number {
  const attention = 3 * family.attentionWidth(config) * length;
  const recurrence = family.recurrence?.(config);
  if (!family.encoder && !recurrence) return 6 * family.activeParameters(config) + attention;
  const head = family.head(weights).weight.size;
  if (recurrence) {
    const keys = 1 + (recurrence.remembers ? recurrence.memoryLength / length : 0);
    return (1 + masked) * (6 * (family.activeParameters(config) - head) + 2 * keys * attention) + 6 * masked * head;
  }
  return 6 * (family.activeParameters(config) - (1 - masked) * head) + 2 * attention;
}

/** What a run will hold, in bytes. */
export interface MemoryEstimate {
  /** Count */
  readonly parameters: number;
  /** Bytes, gradients included. */
  readonly weights: number;
  readonly optimizer: number;
  /** Of one micro-batch. */
  readonly activations: number;
  readonly total: number;
}

/** Bytes of one moment of a parameter; in 8 bits with its part of the scale. */
const MOMENT_BYTES = { f32: 4, bf16: 2, u8: 1 + 4 / 256 } as const;

/** What decides the memory of a step. */
export interface StepNeeds {
  readonly dtype: 'f32' | 'bf16';
  readonly tokens: number;
  readonly moments: AdamWConfig['moments'];
  readonly master?: boolean;
  readonly recompute: boolean;
  /** Share of the parameters that are trained, 1 by default; adapters are few beside the weights that they adapt. */
  readonly trained?: number;
  /** Ranks that share masters and moments, 1 by default; the estimate is that of one of them. */
  readonly ranks?: number;
}

type Shape = Pick<Model, 'family' | 'config'>;

/**
 * Bytes that a step holds at once whatever else it does: weights, gradients, masters, moments, and what each block but the first
 * was given. Modules that predict further tokens may be left untrained, and count as weights only. Less than what is taken.
 */
export function leastMemory({ family, config }: Shape, o: StepNeeds): number {
  const narrow = o.dtype === 'bf16' ? 2 : 4;
  const held = 2 * MOMENT_BYTES[o.moments] + (o.dtype === 'bf16' && o.master !== false ? 4 : 0);
  const kept = 4 + held / (o.ranks ?? 1);
  const share = o.trained ?? 1;
  const parameters = namedParams(family.specs(config)).reduce((sum, [path, p]) => {
    const trained = p.buffer || path.startsWith('next.') ? 0 : share * kept;
    return sum + sizeOf(p.shape) * ((p.f32 ? 4 : narrow) + trained);
  }, 0);
  const { hidden } = config as { readonly hidden: number };
  return parameters + o.tokens * hidden * narrow * (family.layers(config) - 1);
}

/** Bytes that training will take, before anything is allocated: roughly. */
export function estimateMemory({ family, config }: Shape, o: StepNeeds): MemoryEstimate {
  const params = namedParams(family.specs(config)).map(([, p]) => ({
    size: sizeOf(p.shape),
    f32: p.f32,
  }));
  const parameters = params.reduce((n, p) => n + p.size, 0);
  const narrow = o.dtype === 'bf16' ? 2 : 4;
  const trained = o.trained ?? 1;
  const weights = params.reduce((n, p) => n + p.size * ((p.f32 ? 4 : narrow) + 4 * trained), 0) + 2 * 4 * parameters; // and packed copies
  const master = o.dtype === 'bf16' && o.master !== false ? 4 : 0;
  const optimizer = (trained * parameters * (2 * MOMENT_BYTES[o.moments] + master)) / (o.ranks ?? 1);
  const layers = family.layers(config);
  const perToken = (family.activeParameters(config) / Math.max(layers, 1)) ** 0.5 * 24 * narrow; // saved activations of a block
  const activations = o.tokens * perToken * (o.recompute ? 2 : layers);
  return { parameters, weights, optimizer, activations, total: weights + optimizer + activations };
}

/**
 * Bytes that a pass without gradients takes beside the weights, roughly: its tokens in one block, some twenty times the hidden width
 * each, and `logits` rows of logits.
 */
export function passBytes({ family, config }: Shape, dtype: 'f32' | 'bf16', tokens: number, logits = 0): number {
  const width = 6 * (family.activeParameters(config) / Math.max(family.layers(config), 1)) ** 0.5;
  return tokens * width * (dtype === 'bf16' ? 2 : 4) + 2 * 4 * logits * family.vocabulary(config);
}

/** Sides of a product that keeps a device busy. The emulator is not measured, only run. */
const COMFORTABLE = { cpu: 768, cuda: 8192, emulator: 64 } as const;

/**
 * FLOP/s of the device's own matrix product at a comfortable size: what MFU is measured against. Takes about 0.2 s on a
 * laptop.
 */
export function measurePeak(device: Device, dtype: 'f32' | 'bf16', size: number = COMFORTABLE[device.kind]): number {
  return tagged('measuring', () =>
    scope(() => {
      const make = (weight: boolean) => empty([size, size], { dtype, device, weight });
      const [x, w, y] = [make(false), make(true), make(false)];
      for (const t of [x, w]) native.fill(t, 0.5);
      let best = Number.POSITIVE_INFINITY;
      for (let i = 0; i < 5; i++) {
        const start = performance.now();
        native.linearForward(y, x, w, undefined);
        synchronize(device);
        best = Math.min(best, performance.now() - start);
      }
      return (2 * size ** 3) / (best / 1000);
    }),
  );
}
