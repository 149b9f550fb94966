import { pretrain } from '../../src/train/pretrain.js';
import { tinyRun } from './tiny.js';

/** Trains in the folder given, as a process of its own that a test may kill. */
const [out, steps] = process.argv.slice(2) as [string, string];
const end = await pretrain(
  tinyRun(out, {
    train: { steps: Number(steps), rows: 2, length: 16, optimizer: { lr: 3e-3 }, schedule: { warmup: 2 } },
    save: { every: 2, keep: 2 },
  }),
  { onEvent: (event) => event.kind === 'step' && event.step.step === 1 && process.stdout.write('first\n') },
);
process.stdout.write(`end ${end.checkpoint}\n`);
