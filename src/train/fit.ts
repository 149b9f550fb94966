import { TrainMoeError } from '../errors.js';
import type { Model } from '../models/family.js';
import type { AdamWConfig } from '../optim/adamw.js';
import type { Device } from '../tensor/index.js';
import { roomOf, roomWithSwap } from '../tensor/room.js';
import { formatBytes } from '../terminal/format.js';
import { estimateMemory, leastMemory, type StepNeeds } from './estimate.js';

/** What a run may change so that it needs less memory. */
export interface Choices<S> {
  /** The settings that did not fit. */
  readonly now: S;
  /** Changes of them, the best ones first. */
  readonly candidates: readonly Partial<S>[];
  /** Bytes that a run with these settings takes, roughly. */
  bytes(settings: S): number;
  /** Bytes that it holds at once, certainly. */
  least(settings: S): number;
  /** A setting as it is written on the command line, without its value. */
  flag(name: keyof S & string): string;
}

/** A change of settings, as flags, and what training would then take. */
export interface Fitting {
  readonly flags: string;
  readonly bytes: number;
}

/**
 * Up to `count` changes that would fit into `room` bytes, of different kinds. The present settings did not fit, so the estimate
 * is taken to be short by at least what it says below `room`.
 */
export function settingsThatFit<S extends object>(choices: Choices<S>, room: number, count = 3): Fitting[] {
  const { now } = choices;
  const short = Math.max(1, room / choices.bytes(now));
  const kinds = new Set<string>();
  const found: Fitting[] = [];
  for (const change of choices.candidates) {
    const bytes = short * choices.bytes({ ...now, ...change });
    const changed = (Object.keys(change) as (keyof S & string)[]).filter((name) => now[name] !== change[name]);
    const kind = changed.join();
    if (bytes > room * 0.95 || kinds.has(kind) || found.length === count) continue;
    kinds.add(kind);
    found.push({ bytes, flags: changed.map((name) => written(choices.flag(name), change[name])).join(' ') });
  }
  return found;
}

const written = (flag: string, value: unknown): string => (value === true ? flag : `${flag} ${value}`);

/** The estimate is rough: only what is said to take so many times the memory is not even tried. */
const HOPELESS = 16;

/**
 * Runs `body`; when the memory of the device does not suffice, the error says which settings would fit.
 * @throws TrainMoeError as refuseHopeless(), before `body`
 */
export function advising<T, S extends object>(device: Device, choices: () => Choices<S>, body: () => T): T {
  refuseHopeless(choices(), device);
  const advised = (error: unknown) =>
    error instanceof TrainMoeError && error.code === 'out-of-memory' ? withAdvice(error, choices(), device) : error;
  try {
    const result = body();
    if (!(result instanceof Promise)) return result;
    return result.catch((error) => {
      throw advised(error);
    }) as T;
  } catch (error) {
    throw advised(error);
  }
}

/**
 * A system that lends memory it does not have would end the process, so what cannot fit is not begun.
 * @throws TrainMoeError `out-of-memory` when the settings are out of all proportion, or certainly take more than there is
 */
export function refuseHopeless<S extends object>(choices: Choices<S>, device: Device): void {
  const { now } = choices;
  const [bytes, least] = [choices.bytes(now), choices.least(now)];
  // What is no number is left to whoever checks the settings.
  if (!(bytes > HOPELESS * roomOf(device)) && !(least > roomWithSwap(device))) return;
  const amount = least > roomWithSwap(device) ? `at least ${formatBytes(least)}` : `about ${formatBytes(bytes)}`;
  throw withAdvice(new TrainMoeError('out-of-memory', `These settings take ${amount}.`), choices, device);
}

function withAdvice<S extends object>(error: TrainMoeError, choices: Choices<S>, device: Device): TrainMoeError {
  const room = roomOf(device);
  const fitting = settingsThatFit(choices, room);
  const advice =
    fitting.length > 0
      ? `Of ${formatBytes(room)}, these would fit: ${fitting.map((f) => `${f.flags} (about ${formatBytes(f.bytes)})`).join('; ')}.`
      : `No batch fits this model into ${formatBytes(room)}; take a smaller model or a larger device.`;
  return new TrainMoeError('out-of-memory', `${error.message} ${advice}`, { cause: error });
}

/** The settings that decide a step's memory. */
export interface StepSize {
  readonly rows: number;
  readonly length: number;
  readonly accumulate: number;
  readonly recompute: boolean;
  readonly moments: AdamWConfig['moments'];
}

/** How a command spells these settings. */
export type StepFlags = Readonly<Record<keyof StepSize, string>>;

export const PRETRAIN_FLAGS: StepFlags = {
  rows: '--train.rows',
  length: '--train.length',
  accumulate: '--train.accumulate',
  recompute: '--train.recompute',
  moments: '--train.optimizer.moments',
};
export const SFT_FLAGS: StepFlags = {
  rows: '--rows',
  length: '--length',
  accumulate: '--accumulate',
  recompute: '--recompute',
  moments: '--moments',
};

/** Types of moments, each smaller than the one before. */
const MOMENTS: readonly StepSize['moments'][] = ['f32', 'bf16', 'u8'];

export interface StepMemory {
  /** Share of the parameters that are trained; adapters are few. */
  readonly trained?: number;
  readonly master?: boolean;
  /** Every step has all of its rows, and they are full: those of pre-training. */
  readonly full?: boolean;
  /** Ranks that share the rows; the memory is that of one of them. */
  readonly ranks?: number;
  /** The smallest type of moments that the command offers. */
  readonly narrowest?: StepSize['moments'];
}

/** Choices of a run whose step is a batch of packed rows. */
export function stepChoices(
  model: Pick<Model, 'family' | 'config' | 'dtype'>,
  now: StepSize,
  flags: StepFlags,
  { trained, master, ranks = 1, full = false, narrowest = 'u8' }: StepMemory = {},
): Choices<StepSize> {
  const narrower = MOMENTS[MOMENTS.indexOf(now.moments) + 1];
  const offered = narrower && MOMENTS.indexOf(narrower) <= MOMENTS.indexOf(narrowest) ? [narrower] : [];
  const needs = ({ rows, accumulate, length, moments, recompute }: StepSize): StepNeeds => ({
    dtype: model.dtype,
    tokens: Math.ceil(rows / ranks / accumulate) * length,
    moments,
    recompute,
    ranks,
    ...(master !== undefined && { master }),
    ...(trained !== undefined && { trained }),
  });
  return {
    now,
    candidates: stepCandidates(now, offered).filter(
      ({ rows = now.rows, accumulate = now.accumulate }) =>
        rows % ranks === 0 && (ranks === 1 || accumulate * ranks <= rows),
    ),
    bytes: (settings) => estimateMemory(model, needs(settings)).total,
    least: (settings) => leastMemory(model, { ...needs(settings), ...(!full && { tokens: 0 }) }),
    flag: (name) => flags[name],
  };
}

/** Choices of a rank as those of all; ranks of a CPU share one memory. */
export const ofAllRanks = <S>(choices: Choices<S>, ranks: number, { kind }: Device): Choices<S> =>
  kind !== 'cpu'
    ? choices
    : { ...choices, bytes: (s) => ranks * choices.bytes(s), least: (s) => ranks * choices.least(s) };

/** Changes that keep the result come first, then those that round the moments, then smaller batches and windows. */
function stepCandidates(s: StepSize, narrower: readonly StepSize['moments'][]): Partial<StepSize>[] {
  const parts = [...new Set(halvings(s.rows).map((rows) => partsOf(s.rows, s.rows / rows)))].filter(
    (n) => n > s.accumulate,
  );
  const most = parts.at(-1);
  const recompute = s.recompute ? [] : [{ recompute: true }];
  const narrow = narrower.map((moments) => ({ moments }));
  const all = { ...recompute[0], ...(most && { accumulate: most }) };
  return [
    ...parts.map((accumulate) => ({ accumulate })),
    ...recompute,
    ...(most ? recompute.map((r) => ({ ...r, accumulate: most })) : []),
    ...narrow,
    ...narrow.map((n) => ({ ...n, ...all })),
    ...halvings(s.rows).map((rows) => ({ rows, accumulate: partsOf(rows, Math.min(s.accumulate, rows)) })),
    ...halvings(s.length).map((length) => ({ length })),
    ...halvings(s.length).map((length) => ({ length, ...all, ...narrow[0] })),
  ];
}

/** The least number that divides the rows, so that all parts are as large, and is no less than `least`, which is at most `rows`. */
function partsOf(rows: number, least: number): number {
  let found = rows;
  for (let d = 1; d * d <= rows; d++)
    if (rows % d === 0) for (const divisor of [d, rows / d]) if (divisor >= least && divisor < found) found = divisor;
  return found;
}

/** n/2, n/4, ... 1 */
export function halvings(n: number): number[] {
  const out: number[] = [];
  for (let half = Math.floor(n / 2); half >= 1; half = Math.floor(half / 2)) out.push(half);
  return out;
}
