import { chooseDevice } from '../tensor/index.js';
import { casesFor } from './cases.js';
import { type Environment, environmentOf } from './environment.js';
import { isolate } from './isolate.js';
import { jobs } from './jobs/index.js';
import { waitUntilQuiet } from './measure.js';
import { type BenchOptions, checkOptions } from './options.js';
import type { Row } from './report.js';
import { runCase } from './run_case.js';

/**
 * The benchmark: the jobs and shapes that other programs of this kind are measured by, one JSON line a measurement.
 *
 *     options -> cases (job x shape) -> a process each -> rows
 */

/** What a benchmark tells while it runs. */
export type BenchEvent =
  | { readonly kind: 'environment'; readonly environment: Environment }
  | { readonly kind: 'row'; readonly row: Row }
  /** All shapes of a job have been measured. */
  | { readonly kind: 'job'; readonly job: string };

/**
 * Runs every case that the options ask for. Failures become rows; the rest goes on.
 * @throws TrainMoeError `bad-argument` on options that make no sense, `no-device` when the device cannot be used.
 */
export async function bench(options: BenchOptions, onEvent: (event: BenchEvent) => void): Promise<void> {
  checkOptions(options);
  const { device } = chooseDevice(options.device);
  onEvent({ kind: 'environment', environment: environmentOf(device, options.threads) });
  const cases = casesFor(jobs, options, device.kind === 'cpu' ? 'cpu' : 'cuda');
  for (const [i, name] of cases.entries()) {
    waitUntilQuiet(options.patience);
    const run = runsCompiled ? isolate : runCase;
    await run(name, { ...options, device: device.kind }, (row) => onEvent({ kind: 'row', row }));
    if (name.job !== cases[i + 1]?.job) onEvent({ kind: 'job', job: name.job });
  }
}

/** Processes of their own run compiled JavaScript; from TypeScript source the cases share this one. */
const runsCompiled = import.meta.url.endsWith('.js');

export { defaultThreads } from './environment.js';
export type { BenchOptions } from './options.js';
export { isFailed, type Row, rowsTable } from './report.js';
