import { totalmem } from 'node:os';
import type { RunConfig } from '../config/index.js';
import { TrainMoeError } from '../errors.js';
import type { Model } from '../models/family.js';
import type { AdamWConfig } from '../optim/adamw.js';
import { type Device, memoryOf } from '../tensor/index.js';
import { formatBytes } from '../terminal/format.js';
import { estimateMemory } from './estimate.js';

/** The settings that decide a step's memory. */
export interface StepSize {
  readonly rows: number;
  readonly length: number;
  readonly accumulate: number;
  readonly recompute: boolean;
  readonly moments: AdamWConfig['moments'];
}

/** A change of settings, as flags, and what training would then take. */
export interface Fitting {
  readonly flags: string;
  readonly bytes: number;
}

/** The next smaller type of the moments. */
const NARROWER: Readonly<Record<StepSize['moments'], readonly StepSize['moments'][]>> = {
  f32: ['bf16'],
  bf16: ['u8'],
  u8: [],
};

/** Changes that keep the result come first, then those that round the moments, then smaller batches and windows. */
function candidates(s: StepSize): Partial<StepSize>[] {
  const parts = halvings(s.rows)
    .map((rows) => Math.ceil(s.rows / rows))
    .filter((n) => n > s.accumulate);
  const most = parts.at(-1);
  const recompute = s.recompute ? [] : [{ recompute: true }];
  const narrow = NARROWER[s.moments].map((moments) => ({ moments }));
  const all = { ...recompute[0], ...(most && { accumulate: most }) };
  return [
    ...parts.map((accumulate) => ({ accumulate })),
    ...recompute,
    ...(most ? recompute.map((r) => ({ ...r, accumulate: most })) : []),
    ...narrow,
    ...narrow.map((n) => ({ ...n, ...all })),
    ...halvings(s.rows).map((rows) => ({ rows, accumulate: Math.min(s.accumulate, rows) })),
    ...halvings(s.length).map((length) => ({ length })),
    ...halvings(s.length).map((length) => ({ length, ...all, ...narrow[0] })),
  ];
}

/** n/2, n/4, ... 1 */
function halvings(n: number): number[] {
  const out: number[] = [];
  for (let half = n >> 1; half >= 1; half >>= 1) out.push(half);
  return out;
}

/**
 * Up to `count` settings that would fit into `room` bytes, of different kinds. The present ones did not fit, so the estimate is
 * taken to be short by at least what it says below `room`.
 */
export function settingsThatFit(
  model: Pick<Model, 'family' | 'config'>,
  dtype: 'f32' | 'bf16',
  now: StepSize,
  room: number,
  count = 3,
): Fitting[] {
  const estimate = (s: StepSize) =>
    estimateMemory(model, {
      dtype,
      tokens: Math.ceil(s.rows / s.accumulate) * s.length,
      moments: s.moments,
      recompute: s.recompute,
    }).total;
  const short = Math.max(1, room / estimate(now));
  const kinds = new Set<string>();
  const found: Fitting[] = [];
  for (const change of candidates(now)) {
    const bytes = short * estimate({ ...now, ...change });
    const changed = Object.entries(change).filter(([name, value]) => now[name as keyof StepSize] !== value);
    const kind = changed.map(([name]) => name).join();
    if (bytes > room * 0.95 || kinds.has(kind) || found.length === count) continue;
    kinds.add(kind);
    found.push({ bytes, flags: changed.map(([name, value]) => flag(name, value)).join(' ') });
  }
  return found;
}

const flag = (name: string, value: unknown): string =>
  name === 'moments' ? `--train.optimizer.moments ${value}` : `--train.${name}${value === true ? '' : ` ${value}`}`;

/** The same error with what would fit. */
export function withSettingsThatFit(
  error: TrainMoeError,
  model: Pick<Model, 'family' | 'config' | 'dtype'>,
  { train }: Pick<RunConfig, 'train'>,
  device: Device,
): TrainMoeError {
  const room =
    memoryOf(device).ceiling || Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY);
  const now: StepSize = { ...train, moments: train.optimizer.moments };
  const fitting = settingsThatFit(model, model.dtype, now, room);
  const advice =
    fitting.length > 0
      ? `Of ${formatBytes(room)}, these would fit: ${fitting.map((f) => `${f.flags} (about ${formatBytes(f.bytes)})`).join('; ')}.`
      : `No batch fits this model into ${formatBytes(room)}; take a smaller model or a larger device.`;
  return new TrainMoeError('out-of-memory', `${error.message} ${advice}`, { cause: error });
}
