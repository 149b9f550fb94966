import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { compiler, sanitizers } from '../native/sanitizers.js';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '..', '..');
const found = spawnSync(compiler, ['--version']).status === 0;

const twins = { 'the matrix unit': 'MOE_AMX_TWIN', 'AVX-512 BF16': 'MOE_PAIRS_TWIN' };

describe.skipIf(!found)(`products of pairs of bf16 (${found ? 'twins in plain C++' : `no ${compiler}`})`, () => {
  it.each(Object.entries(twins))(
    'on %s equal plain loops: packing, partial tiles, gathers, accumulation, a row alone, attention',
    (_, twin) => {
      const folder = mkdtempSync(join(tmpdir(), 'train-moe-twin-'));
      try {
        const program = join(folder, 'twin');
        const kernels = [
          ...['linear', 'grouped_linear', 'attention', 'attention_backward', 'parallel'],
          ...['gemm/gemm', 'gemm/packed_weight', 'gemm/few', 'gemm/gated', 'gemm/shallow', 'gemm/amx'],
        ];
        const sources = [
          ...kernels.map((k) => `kernels/cpu/${k}.cc`),
          'native/memory.cc',
          'test/kernels/pairs_twin.cc',
        ];
        const flags = ['-std=gnu++20', '-Wno-psabi', '-ffp-contract=off', '-DMOE_ISA=twin', `-D${twin}`];
        const built = spawnSync(compiler, [...flags, ...(sanitizers() ?? []), ...sources, '-o', program, '-lpthread'], {
          cwd: root,
          encoding: 'utf8',
        });
        expect(built.stderr).toBe('');
        // Its buffers live until it ends.
        const run = spawnSync(program, { encoding: 'utf8', env: { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' } });
        expect(run.stdout + run.stderr).toBe('0 failures\n');
        expect(run.status).toBe(0);
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
    300_000, // it compiles
  );
});
