import { saveCheckpoint } from '../../../src/train/run/checkpoint.js';
import { writeExample } from './content.js';

/** Saves one checkpoint after another until it is killed or fails; prints each step once it is safe. */
const [runDir, first, elements, keep] = process.argv.slice(2);
try {
  for (let step = Number(first); ; step++) {
    const saved = saveCheckpoint(runDir!, step, (folder) => writeExample(folder, step, Number(elements)), {
      keep: Number(keep),
    });
    process.stdout.write(`${saved.step}\n`);
  }
} catch (error) {
  process.stderr.write((error as Error).message);
  process.exitCode = 3;
}
