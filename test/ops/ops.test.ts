import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type OpCase, testOps } from './harness.js';

const folder = dirname(fileURLToPath(import.meta.url));
for (const file of readdirSync(folder)
  .filter((f) => f.endsWith('.case.ts'))
  .sort()) {
  const module = (await import(`./${file}`)) as { cases: readonly OpCase[] };
  testOps(module.cases);
}
