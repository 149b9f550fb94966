import * as native from '../native.gen.js';
import { type Device, deviceClock, memoryOf, synchronize, zeros } from '../tensor/index.js';
import { type MeasureOptions, measure, measureAsync, type Repetitions, type Times } from './measure.js';
import { type BenchOptions, expression } from './options.js';
import { failed, type Measured, type Metric, measured, type Row } from './report.js';
import type { JobName, JobShapes } from './shapes.js';
import { withSmaller } from './smaller.js';

/** What a job file exports; `run` prepares its inputs and hands each measurement to the case. */
export interface Job<J extends JobName = JobName> {
  readonly name: J;
  /** The job names that its rows carry; default its own. */
  readonly rows?: readonly string[];
  readonly repetitions: Repetitions;
  run(c: Case<JobShapes[J]>): void | Promise<void>;
}

/** One thing to be timed. */
export interface Measurement {
  /** The row's job, where a job has several; default the job's name. */
  readonly job?: string;
  /** The variant, where a job has several. */
  readonly rival?: string;
  /** The row's shape, where it is more than the job's. */
  readonly shape?: { readonly name: string };
  readonly metric: Metric;
  /** Units of the metric in one repetition. */
  readonly work: number;
  readonly repetitions?: Partial<Repetitions>;
  /** Nothing that other programs are measured at. */
  readonly own?: boolean;
  /** Further fields of the row, asked for when the times are there. */
  readonly further?: (row: Measured) => Readonly<Record<string, unknown>>;
}

/** Work that fits a short measurement. */
export const shortWork: Repetitions = { budget: 1, warmup: 2, least: 5, most: 200 };

/** Bytes that are overwritten before each repetition on a GPU: more than any second-level cache holds. */
const FLUSH_BYTES = 256 << 20;

/** One shape of one job: times what the job asks for and reports rows. */
export class Case<S extends { readonly name: string } = { readonly name: string }> {
  private readonly flush: (() => void) | undefined;

  constructor(
    readonly job: Job,
    readonly shape: S,
    readonly device: Device,
    readonly options: BenchOptions,
    private readonly own: boolean,
    private readonly emit: (row: Row) => void,
  ) {
    this.flush = device.kind === 'cuda' ? flusher(device) : undefined;
  }

  /** Does the command line ask for rows of this job and variant? */
  wants({ job = this.job.name, rival = RIVAL }: Pick<Measurement, 'job' | 'rival'>): boolean {
    const asked = expression(this.options.job, 'job');
    return (asked.test(job) || asked.test(this.job.name)) && expression(this.options.rival, 'rival').test(rival);
  }

  /** Times `run` and reports it; a variant that throws becomes a row with its error, and the next one still runs. */
  time(m: Measurement, run: () => unknown): void {
    this.attempt(m, () => this.report(m, measure(run, this.measureOptions(m))));
  }

  /** As time(), for work that ends later. */
  async timeAsync(m: Measurement, run: () => Promise<unknown>): Promise<void> {
    if (!this.wants(m)) return;
    try {
      this.report(m, await measureAsync(run, this.measureOptions(m)));
    } catch (error) {
      this.emit(failed(this.head(m), this.explained(error)));
    }
  }

  /** Runs `body`, which prepares and times one variant; what it throws becomes a row. */
  attempt(m: Pick<Measurement, 'job' | 'rival' | 'shape'>, body: () => void): void {
    if (!this.wants(m)) return;
    try {
      body();
    } catch (error) {
      this.emit(failed(this.head(m), this.explained(error)));
    }
  }

  /** Starts watching memory; the result tells the most bytes in use on the device since then. */
  watchMemory(): () => number {
    memoryOf(this.device, true);
    return () => memoryOf(this.device).peak;
  }

  /** Waits until the device has done what it was given. */
  readonly finish = (): void => synchronize(this.device);

  private report(m: Measurement, times: Times): void {
    const row = measured(this.head(m), m.metric, m.work, times);
    this.emit({ ...row, ...m.further?.(row), ...((this.own || m.own) && { own: true }) });
  }

  private head(m: Pick<Measurement, 'job' | 'rival' | 'shape'>) {
    return { rival: m.rival ?? RIVAL, job: m.job ?? this.job.name, shape: m.shape ?? this.shape };
  }

  private explained(error: unknown): unknown {
    const name = { job: this.job.name, shape: this.shape, own: this.own };
    return withSmaller(error, name, this.options);
  }

  private measureOptions(m: Measurement): MeasureOptions {
    const { seconds, patience, smoke } = this.options;
    const usual = { ...this.job.repetitions, ...m.repetitions };
    const repetitions = smoke ? { budget: 0, warmup: 1, least: 2, most: 2 } : usual;
    return {
      ...repetitions,
      ...(seconds !== undefined && { budget: seconds }),
      patience,
      finish: this.finish,
      clock: deviceClock(this.device),
      ...(this.flush && { prepare: this.flush }),
    };
  }
}

/** The name of this program's rows. */
export const RIVAL = 'train-moe';

/** Overwrites the second-level cache. It runs ahead of the repetition in the device's order, so nothing waits for it. */
function flusher(device: Device): () => void {
  const waste = zeros([FLUSH_BYTES / 4], { device });
  return () => native.fill(waste, 0);
}
