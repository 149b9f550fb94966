import { readFileSync } from 'node:fs';

/** Seconds of each repetition, and how many cores other programs used meanwhile. */
export interface Times {
  readonly seconds: readonly number[];
  readonly others: number;
}

/** How often and how long a measurement repeats. */
export interface Repetitions {
  /** Seconds that the repetitions may fill. */
  readonly budget: number;
  /** Repetitions before the clock counts. */
  readonly warmup: number;
  readonly least: number;
  readonly most: number;
}

export interface MeasureOptions extends Repetitions {
  /** Seconds to wait, in all, for other programs to leave the cores alone; disturbed measurements are made again. */
  readonly patience: number;
  /** Runs before each repetition, off the clock: empties a cache, say. */
  readonly prepare?: () => void;
  /** Ends each repetition, on the clock: waits for the device. */
  readonly finish?: () => void;
  /** The device's own clock, which counts from where its work of this repetition begins to where it ends. */
  readonly clock?: { begin(): void; end(): number } | undefined;
}

/** Cores that other programs may use while we measure. */
const QUIET = 0.1;

const now = (): number => performance.now() / 1000;

/** The times of `run`. Of several disturbed measurements the least disturbed counts. */
export function measure(run: () => unknown, options: MeasureOptions): Times {
  const repetitions = session(options);
  let next = repetitions.next();
  while (!next.done) {
    run();
    next = repetitions.next();
  }
  return next.value;
}

/** As measure(), for work that ends later. */
export async function measureAsync(run: () => Promise<unknown>, options: MeasureOptions): Promise<Times> {
  const repetitions = session(options);
  let next = repetitions.next();
  while (!next.done) {
    await run();
    next = repetitions.next();
  }
  return next.value;
}

/** Asks for one repetition with each yield and times it: the one loop behind both ways to run. */
function* session(o: MeasureOptions): Generator<void, Times, void> {
  for (let i = 0; i < o.warmup; i++) yield;
  let best: Times | undefined;
  const end = now() + o.patience;
  for (;;) {
    const seconds: number[] = [];
    const neighbours = watchNeighbours();
    const start = now();
    while (seconds.length < o.least || (now() - start < o.budget && seconds.length < o.most)) {
      o.prepare?.();
      const end = startClock(o);
      yield;
      seconds.push(end());
    }
    const others = neighbours();
    if (!best || others < best.others) best = { seconds, others };
    if (best.others < QUIET || now() > end) return best;
    waitUntilQuiet(end - now());
  }
}

/** Starts the clock of one repetition; the result stops it and tells the seconds. */
function startClock({ clock, finish }: MeasureOptions): () => number {
  if (clock) {
    clock.begin();
    return () => clock.end();
  }
  const before = now();
  return () => {
    finish?.();
    return now() - before;
  };
}

/** Waits, at most `patience` seconds, until other programs leave the cores alone. Blocks the thread. */
export function waitUntilQuiet(patience: number): void {
  const end = now() + patience;
  while (now() < end) {
    const neighbours = watchNeighbours();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
    if (neighbours() < QUIET) return;
  }
}

/** Cores that programs other than this process use, from now until the result is called (Linux; elsewhere 0). */
function watchNeighbours(): () => number {
  const start = now();
  const busy = busySeconds();
  const own = ownSeconds();
  return () => {
    if (busy === undefined) return 0;
    const used = busySeconds()! - busy - (ownSeconds() - own);
    return Math.round((Math.max(used, 0) / (now() - start + 1e-9)) * 1000) / 1000;
  };
}

/** Seconds that all cores together have worked since the machine started. */
function busySeconds(): number | undefined {
  try {
    return busyOf(readFileSync('/proc/stat', 'utf8'));
  } catch {
    return undefined;
  }
}

/** As busySeconds(), from the text of /proc/stat: user, nice, system, irq, softirq and steal, in ticks of 1/100 s. */
export function busyOf(stat: string): number {
  const [user, nice, system, , , ...rest] = stat.split('\n', 1)[0]!.trim().split(/\s+/).slice(1).map(Number);
  const ticks = user! + nice! + system! + rest.slice(0, 3).reduce((a, b) => a + b, 0);
  return ticks / 100; // USER_HZ, the unit of /proc, is 100 on every Linux that Node runs on
}

function ownSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** The middle value, or the mean of the two middle ones. @throws RangeError on an empty list. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('The median of no values does not exist.');
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
