import { TrainMoeError } from '../errors.js';
import { addon } from '../native.js';
import { chooseDevice, scope } from '../tensor/index.js';
import { Case, RIVAL } from './case.js';
import type { CaseName } from './cases.js';
import { jobs } from './jobs/index.js';
import type { BenchOptions } from './options.js';
import { failed, type Row } from './report.js';
import { withSmaller } from './smaller.js';

/** Runs one case in this process. What it throws becomes a row. */
export async function runCase(name: CaseName, options: BenchOptions, emit: (row: Row) => void): Promise<void> {
  const job = jobs.find((candidate) => candidate.name === name.job);
  if (!job) throw new TrainMoeError('bad-argument', `There is no job "${name.job}".`);
  try {
    addon.setThreads(options.threads);
    const { device } = chooseDevice(options.device);
    const running = scope(() => {
      const one = new Case(job, name.shape, device, options, name.own, emit);
      const result = job.run(one as Case<never>);
      return { result }; // text jobs go on later and make no tensors
    });
    await running.result;
    addon.trimMemory(device.index);
  } catch (error) {
    emit(failed({ rival: RIVAL, job: name.job, shape: name.shape }, withSmaller(error, name, options)));
  }
}
