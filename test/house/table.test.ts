import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { addon } from '../../src/native.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const camel = (name: string) => name.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase());
const textsOf = (folder: string, ending: string): string =>
  existsSync(join(root, folder))
    ? readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
        .filter((f) => f.endsWith(ending))
        .map((f) => readFileSync(join(root, folder, f), 'utf8'))
        .join('\n')
    : '';

/** One op, one name: a line of the table has kernels, a TypeScript caller, and a case that holds it to its definition. */
describe('every line of native/ops.def', () => {
  const table = addon.table();
  const cpu = textsOf('kernels/cpu', '.cc');
  const callers = textsOf('src', '.ts');
  const cases = textsOf('test/ops', '.ts') + textsOf('test/optim', '.ts');

  it.each(table.map(({ name }) => name))('%s has a CPU kernel, a caller and a test', (name) => {
    expect(cpu, 'kernel').toMatch(new RegExp(`void ${name}\\(`));
    expect(callers, 'caller').toContain(`native.${camel(name)}(`);
    const family = name.replace(/_(forward|backward|train)$/, '');
    const spoken = [camel(name), camel(family), family];
    expect(
      spoken.some((word) => cases.includes(word)),
      `a test of ops or optimizers that mentions ${spoken.join(' or ')}`,
    ).toBe(true);
  });
});
