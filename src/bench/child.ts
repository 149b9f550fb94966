import type { CaseName } from './cases.js';
import type { BenchOptions } from './options.js';
import type { Row } from './report.js';
import { runCase } from './run_case.js';

/** Entry of the process that runs one case; isolate.ts starts it. */

/** What it is given, as JSON in its first argument. */
export interface ChildTask {
  readonly name: CaseName;
  readonly options: BenchOptions;
}

/** What it sends back. */
export type ChildMessage = { readonly row: Row } | { readonly done: true };

const { name, options } = JSON.parse(process.argv[2]!) as ChildTask;
const send = (message: ChildMessage): void => {
  process.send?.(message);
};
await runCase(name, options, (row) => send({ row }));
send({ done: true });
process.disconnect?.();
