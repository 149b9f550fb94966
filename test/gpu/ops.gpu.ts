import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/native.js';
import { bitsOf, checkForward, checkGradient, type OpCase } from '../ops/harness.js';
import { on, part, rehearsal, sanitized, trim } from './device.js';

/* Every op case: against its float64 definition, its gradient against finite differences, and the same bits twice. */

const folder = join(packageRoot, 'test', 'ops');
const files = readdirSync(folder).filter((f) => f.endsWith('.case.ts'));
afterEach(trim);

for (const file of files) {
  const { cases } = (await import(join(folder, file))) as { cases: readonly OpCase[] };
  for (const opCase of part(cases, 4))
    describe(opCase.name, () => {
      const dtypes = opCase.dtypes ?? (['f32', 'bf16'] as const);
      for (const dtype of rehearsal ? dtypes.slice(0, 1) : dtypes) {
        it(`equals its definition (${dtype})`, () => checkForward(opCase, dtype, on));
        if (Object.values(opCase.inputs).some((i) => !i.ints && i.grad !== false))
          it(`goes back as finite differences say (${dtype})`, () => checkGradient(opCase, dtype, on));
        if (!sanitized)
          it(`gives the same bits twice (${dtype})`, () =>
            expect(bitsOf(opCase, dtype, on)).toEqual(bitsOf(opCase, dtype, on)));
      }
    });
}
