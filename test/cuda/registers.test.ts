import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/native.js';

/*
 * The kernels that decide a step's time must not spill registers, and must leave room for the blocks that a multiprocessor is
 * meant to hold. ptxas says so without a GPU.
 */

/** Most registers a thread may use, per hot source; the table of kernels/README.md says what they use now, which is compared. */
const limits: Readonly<Record<string, number>> = {
  'gemm/tensor.cu': 168,
  'gemm/hopper.cu': 168,
  'attention_forward.cu': 255,
  'attention_backward.cu': 255,
  'attention_hopper_forward.cu': 168,
  'decode.cu': 255,
  'attention_hopper_keys.cu': 168,
  'attention_hopper_queries.cu': 168,
  'gemm/plain.cu': 255,
  'norm.cu': 255,
  'optimizer.cu': 64,
  'optimizer_8bit.cu': 80,
};
const architectures = ['80', '90a'];

const rows = readFileSync(join(packageRoot, 'kernels', 'README.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| '));

describe('the table of kernels/README.md', () => {
  const sources = readdirSync(join(packageRoot, 'kernels', 'cuda'), { recursive: true, encoding: 'utf8' });
  it.each(sources.filter((f) => f.endsWith('.cu')))('has a row for the kernels of %s', (file) => {
    const text = readFileSync(join(packageRoot, 'kernels', 'cuda', file), 'utf8');
    const own = /__global__|forEach\(/.test(text);
    expect(rows.some((row) => row.includes(`\`${file}\``)) || !own).toBe(true);
  });
  it('names only files that exist', () => {
    const named = rows.flatMap((row) => [...row.matchAll(/`([\w/]+\.cu)`/g)].map((m) => m[1]!));
    expect(named.filter((file) => !sources.includes(file))).toEqual([]);
  });
});

/** The most registers that the table tells of a file, for sm_80 and sm_90a; NaN where it has no kernel for the one. */
function told(file: string): readonly number[] {
  const cells = rows
    .filter((row) => row.includes(`\`${file}\``))
    .flatMap((row) => / \| +(-|\d+) \/ (\d+) +\| /.exec(row) ?? [])
    .filter((cell) => /^(-|\d+)$/.test(cell));
  const of = (arch: number) => cells.filter((_, i) => i % 2 === arch).map(Number);
  return [Math.max(...of(0)), Math.max(...of(1))];
}

const version = spawnSync('nvcc', ['--version'], { encoding: 'utf8' });
const nvcc = version.status === 0;
/** The compiler that the table's numbers are from. */
const ofTheTable = nvcc && /release 13\.0\b/.test(version.stdout);

/** What ptxas says of an entry function, and of what it calls. */
interface Entry {
  readonly registers: number;
  readonly spills: number;
}

/** The log of a build that compiled every file for these architectures, told by whoever made it (.ci/run). */
const buildLog = process.env.TRAIN_MOE_PTXAS_LOG && readFileSync(process.env.TRAIN_MOE_PTXAS_LOG, 'utf8');

/** What the build said of a file: from the line that names its object to that of the next one. */
function ofBuild(log: string, file: string): string {
  const parts = log.split(/^(?=.*Building CUDA object )/m);
  return parts.find((part) => part.split('\n')[0]!.includes(`.dir/${file}.o`)) ?? '';
}

/** What the compiler says when the file is compiled alone. */
function compiled(file: string, arch: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'registers-'));
  try {
    const flags = ['-cubin', '-std=c++20', '-O3', '--expt-relaxed-constexpr', '-Xptxas', '-v'];
    const machine = ['-I', join(packageRoot, 'kernels/machine/gpu'), `-gencode=arch=compute_${arch},code=sm_${arch}`];
    const files = ['-o', join(folder, 'out.cubin'), join(packageRoot, 'kernels/cuda', file)];
    return execFileSync('sh', ['-c', 'exec nvcc "$@" 2>&1', 'nvcc', ...flags, ...machine, ...files], {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The entry functions for an architecture: ptxas names each before it tells of it. */
function entriesOf(log: string, arch: string): Entry[] {
  return log
    .split('Compiling entry function ')
    .slice(1)
    .filter((entry) => entry.split('\n')[0]!.includes(`'sm_${arch}'`))
    .map((entry) => ({
      registers: Number(/Used (\d+) registers/.exec(entry)?.[1]),
      spills: Math.max(...[...entry.matchAll(/(\d+) bytes spill stores/g)].map((m) => Number(m[1]))),
    }));
}

describe.skipIf(!nvcc)(`registers of the hot CUDA kernels${nvcc ? '' : ' (no nvcc)'}`, () => {
  for (const [file, most] of Object.entries(limits))
    for (const arch of architectures)
      it(`${file} for sm_${arch}: no spills, at most ${most} registers`, { timeout: 300_000 }, () => {
        const entries = entriesOf(buildLog ? ofBuild(buildLog, file) : compiled(file, arch), arch);
        expect(entries.length).toBeGreaterThan(0);
        for (const { spills } of entries) expect(spills).toBe(0);
        const registers = Math.max(...entries.map((entry) => entry.registers));
        expect(registers).toBeLessThanOrEqual(most);
        const inTable = told(file)[architectures.indexOf(arch)]!;
        if (ofTheTable && !Number.isNaN(inTable)) expect(inTable, 'as kernels/README.md says').toBe(registers);
      });
});
