import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const compiler = (() => {
  try {
    return execFileSync('sh', ['-c', 'command -v g++'], { encoding: 'utf8' }).trim();
  } catch {
    return '';
  }
})();

describe.skipIf(!compiler)(`index mathematics of the CUDA kernels${compiler ? '' : ' (no g++)'}`, () => {
  it('gives every element of a fragment one owner, every tile one block, every row of an ldmatrix its own banks', () => {
    const folder = mkdtempSync(join(tmpdir(), 'index-math-'));
    try {
      const program = join(folder, 'index_math');
      execFileSync(compiler, [
        '-std=gnu++20',
        '-O1',
        '-fconstexpr-ops-limit=200000000',
        '-o',
        program,
        join(import.meta.dirname, 'index_math.cc'),
      ]);
      expect(execFileSync(program, { encoding: 'utf8' })).toBe('');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
