import { TrainMoeError } from '../../errors.js';
import type { CollectReport, Problem } from '../types.js';

/** What to do with input that cannot be used: stop with an error, or note it in the report and go on. */
export type ProblemPolicy = 'throw' | 'report';

/** Counters plus the rule for problems; passed to every reader. */
export interface Reporter {
  readonly report: CollectReport;
  /** Counts a problem that was dealt with (a repair, a skipped binary file). */
  note(problem: Problem): void;
  /** Input that must be left out. Throws `bad-data` under the `throw` policy, else counts it. */
  reject(problem: Problem, cause?: unknown): void;
}

export function emptyReport(): CollectReport {
  return {
    files: 0,
    documents: 0,
    bytes: 0,
    duplicates: 0,
    empty: 0,
    repairs: 0,
    nul: 0,
    crlf: 0,
    problemCount: 0,
    problems: [],
  };
}

export function createReporter(report: CollectReport, policy: ProblemPolicy, problemLimit: number): Reporter {
  const note = (problem: Problem): void => {
    report.problemCount++;
    if (report.problems.length < problemLimit) report.problems.push(problem);
  };
  return {
    report,
    note,
    reject(problem, cause) {
      if (policy === 'throw') throw new TrainMoeError('bad-data', problem.message, { cause });
      note(problem);
    },
  };
}

/** The part of an error that helps a reader: its message without our own class name. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
