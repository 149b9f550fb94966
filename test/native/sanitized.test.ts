import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/native.js';
import { compiler, sanitizers } from './sanitizers.js';

const flags = sanitizers();
const folder = mkdtempSync(join(tmpdir(), 'train-moe-sanitized-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(!flags)('under the sanitizers of addresses and undefined behaviour (needs g++ with them)', () => {
  it('the table is parsed and held, whatever a call or a line looks like', () => {
    const program = join(folder, 'contract');
    const sources = ['native/contract.cc', 'test/native/contract_fuzz.cc'];
    const warnings = ['-Wall', '-Wextra', '-Werror', '-Wno-restrict'];
    const built = spawnSync(compiler, ['-std=gnu++20', '-g', ...warnings, ...flags!, ...sources, '-o', program], {
      cwd: packageRoot,
      encoding: 'utf8',
    });
    expect(built.stderr).toBe('');
    const run = spawnSync(program, { encoding: 'utf8' });
    expect(run.stderr).toBe('');
    expect(run.stdout).toMatch(/^[1-9]\d* taken, [1-9]\d* refused, [1-9]\d* lines rejected\n$/);
    expect(run.status).toBe(0);
  }, 300_000);
});
