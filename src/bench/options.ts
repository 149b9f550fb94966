import { TrainMoeError } from '../errors.js';

/** What to measure and how; the command's options. */
export interface BenchOptions {
  /** Regular expressions that the names of jobs, shapes and variants must match somewhere. */
  readonly job: string;
  readonly shape: string;
  readonly rival: string;
  readonly device: string;
  /** Variants of whole models in this type only. */
  readonly dtype?: 'f32' | 'bf16' | undefined;
  /** Time for the repetitions of one measurement; absent: what suits the job. */
  readonly seconds?: number | undefined;
  readonly threads: number;
  /** Seconds to wait, a measurement, for other programs to leave the cores alone. */
  readonly patience: number;
  /** Tiny shapes: shows that all of it runs, measures nothing. */
  readonly smoke: boolean;
  /** Text of the tokenizer's jobs; absent: text that is already on the machine. */
  readonly text?: string | undefined;
}

/** @throws TrainMoeError `bad-argument` naming the option that is out of range. */
export function checkOptions(o: BenchOptions): void {
  for (const name of ['job', 'shape', 'rival'] as const) expression(o[name], name);
  check('seconds', o.seconds ?? 1, (o.seconds ?? 1) > 0, 'a number above 0');
  check('patience', o.patience, o.patience >= 0, 'a number of seconds, 0 or more');
  check('threads', o.threads, Number.isInteger(o.threads) && o.threads > 0, 'a positive whole number');
}

function check(name: string, value: number, holds: boolean, expected: string): void {
  if (!holds) throw new TrainMoeError('bad-argument', `--${name} is ${value}; it must be ${expected}.`);
}

/** The regular expression an option gives. @throws TrainMoeError `bad-argument` when it is none. */
export function expression(source: string, name: string): RegExp {
  try {
    return new RegExp(source);
  } catch (cause) {
    throw new TrainMoeError(
      'bad-argument',
      `--${name} is "${source}", which is no regular expression: ${(cause as Error).message}.`,
      { cause },
    );
  }
}
