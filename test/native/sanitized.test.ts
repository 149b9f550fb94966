import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/native.js';

const compiler = process.env.CXX ?? 'g++';
const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
const folder = mkdtempSync(join(tmpdir(), 'train-moe-sanitized-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Whether the compiler is there with the libraries of both sanitizers. */
function found(): boolean {
  const source = join(folder, 'empty.cc');
  writeFileSync(source, 'int main() { return 0; }\n');
  return spawnSync(compiler, [...sanitizers, source, '-o', join(folder, 'empty')]).status === 0;
}

describe.skipIf(!found())('under the sanitizers of addresses and undefined behaviour (needs g++ with them)', () => {
  it('the table is parsed and held, whatever a call or a line looks like', () => {
    const program = join(folder, 'contract');
    const sources = ['native/contract.cc', 'test/native/contract_fuzz.cc'];
    const flags = ['-std=gnu++20', '-O1', '-g', '-Wall', '-Wextra', '-Werror', '-Wno-restrict', ...sanitizers];
    const built = spawnSync(compiler, [...flags, ...sources, '-o', program], { cwd: packageRoot, encoding: 'utf8' });
    expect(built.stderr).toBe('');
    const run = spawnSync(program, { encoding: 'utf8' });
    expect(run.stderr).toBe('');
    expect(run.stdout).toMatch(/^[1-9]\d* taken, [1-9]\d* refused, [1-9]\d* lines rejected\n$/);
    expect(run.status).toBe(0);
  }, 300_000);
});
