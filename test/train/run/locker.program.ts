import { existsSync } from 'node:fs';
import { lockRun } from '../../../src/train/run/lock.js';

/** Waits for the file `go`, tries once to lock, prints what came of it, and stays alive until it is killed. */
const [runDir, go] = process.argv.slice(2);
process.stdout.write('ready\n');
while (!existsSync(go!)) {
  // Busy on purpose: all contenders shall start in the same moment.
}
try {
  lockRun(runDir!);
  process.stdout.write('taken\n');
} catch (error) {
  process.stdout.write(`${(error as { code?: string }).code}: ${(error as Error).message}\n`);
}
setInterval(() => {}, 1000);
