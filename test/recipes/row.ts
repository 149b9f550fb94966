import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { R1Row } from '../../src/recipes/rows.js';

const figures = { accuracy: 0.25, judged: { number: 0.25, format: 0.5, language: 1 }, length: 12.5, truncated: 0 };

/** Makers of table rows whose stages lie in `folder`, which gets metrics of three steps. */
export function rowsIn(folder: string): (title: string, completion: string, right?: boolean) => R1Row {
  const steps = [1, 2, 3].map((step) => JSON.stringify({ step, 'reward/mean': step / 4, 'train/loss': 3 - step }));
  writeFileSync(join(folder, 'metrics.jsonl'), steps.join('\n'));
  return (title, completion, right = false) => ({
    name: title,
    title,
    stage: { name: title, hash: 'h', folder, seconds: 61, result: null, model: join(folder, title) },
    measured: {
      name: `measure-${title}`,
      hash: 'm',
      folder,
      seconds: 1,
      result: {
        questions: 7,
        greedy: figures,
        sampled: { ...figures, accuracy: 0.125 },
        loads: [[1, [0.5, 0.3, 0.2, 0]]],
        shown: [{ prompt: 'What is 1 + 1?', completion, right }],
      },
    },
  });
}
