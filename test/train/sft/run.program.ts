import { sft } from '../../../src/train/sft/run.js';
import { tinySft } from './tiny.js';

/** Fine-tunes the model and data given, as a process of its own that a test may kill. */
const [model, data, out] = process.argv.slice(2) as [string, string, string];
const end = await sft(tinySft({ model, data: [data], out, epochs: 6, saveEvery: 2, rows: 1, length: 96 }), {
  onEvent: (event) => event.kind === 'step' && process.stdout.write('step\n'),
});
process.stdout.write(`end ${end.checkpoint}\n`);
