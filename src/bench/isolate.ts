import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { TrainMoeError } from '../errors.js';
import { RIVAL } from './case.js';
import type { CaseName } from './cases.js';
import type { ChildMessage, ChildTask } from './child.js';
import type { BenchOptions } from './options.js';
import { failed, type Row } from './report.js';

/** A case that takes longer than this many seconds has failed. */
const LIMIT = 600;

/** Measurements of a case that may each wait for quiet as long as `patience` says. */
const PATIENT_MEASUREMENTS = 4;

/** The compiled program that runs a case. */
const childProgram = fileURLToPath(new URL('./child.js', import.meta.url));

/**
 * Runs one case in a process of its own, so that a crash, a hang or exhausted memory costs only that case, and no case
 * inherits another's memory. Resolves when the process has ended, however it did.
 */
export function isolate(
  name: CaseName,
  options: BenchOptions,
  emit: (row: Row) => void,
  { program = childProgram, limit = LIMIT } = {},
): Promise<void> {
  const task: ChildTask = { name, options };
  const child = fork(program, [JSON.stringify(task)], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  let done = false;
  let late = false;
  let complaint = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-2000);
  });
  child.on('message', (message: ChildMessage) => {
    if ('row' in message) emit(message.row);
    else done = true;
  });
  const allowance = limit + PATIENT_MEASUREMENTS * options.patience;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, allowance * 1000);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (!done)
        emit(
          failed(
            { rival: RIVAL, job: name.job, shape: name.shape },
            ending(code, signal, late ? limit : undefined, complaint),
          ),
        );
      resolve();
    });
  });
}

/** Why a process ended before it was done. */
function ending(
  code: number | null,
  signal: string | null,
  limit: number | undefined,
  complaint: string,
): TrainMoeError {
  if (limit !== undefined) return new TrainMoeError('internal', `not done after ${limit} s`);
  const said = complaint.split('\n').find((line) => /Error: /.test(line)); // Node's own last line is its version
  return new TrainMoeError('internal', said?.trim() || `its process ended with ${signal ?? `status ${code}`}`);
}
