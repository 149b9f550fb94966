import { r1 } from '../../src/recipes/r1.js';
// Programs that the recipe starts: named here, so that they are compiled with it.
import type {} from '../../src/rl/rewards/graders/worker.js';
import type {} from '../../src/train/worker.js';
import { plainRecipe, tinyRecipe } from './tiny.js';

/** Runs a tiny recipe as a process of its own that a test may kill; says which stage begins, and at the end the table. */
const [kind, out, text, file, ...rewards] = process.argv.slice(2) as ['tiny' | 'plain', string, string, string];
const recipe = kind === 'tiny' ? tinyRecipe(out, text, [file]) : plainRecipe(out, text, file, rewards);
const end = await r1(recipe, {
  onEvent: (event) => {
    if (event.kind === 'begin') process.stdout.write(`begin ${event.name}\n`);
    else if (event.kind === 'finish' && event.found) process.stdout.write(`found ${event.stage.name}\n`);
    else if ('event' in event && event.event.kind === 'step') process.stdout.write(`step in ${event.stage}\n`);
  },
});
const rows = end.rows.map(({ name, title, stage, measured }) => ({
  name,
  title,
  hash: stage.hash,
  measured: measured.result,
}));
process.stdout.write(`end ${JSON.stringify({ stopped: end.stopped, rows })}\n`);
