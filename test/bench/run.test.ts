import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { casesFor } from '../../src/bench/cases.js';
import { bench, isFailed, type Row } from '../../src/bench/index.js';
import { jobs } from '../../src/bench/jobs/index.js';
import type { BenchOptions } from '../../src/bench/options.js';
import type { JobName } from '../../src/bench/shapes.js';
import { withSmaller } from '../../src/bench/smaller.js';
import { TrainMoeError } from '../../src/errors.js';
import { addon } from '../../src/native.js';
import { memoryOf, device as openDevice } from '../../src/tensor/index.js';
import { commandLine } from '../cli/command_line.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-bench-'));
const text = join(folder, 'text.txt');
beforeAll(() => {
  const line = (i: number) => `the ${i * 7919} quick brown foxes jump over the ${i % 97} lazy dogs\n`;
  writeFileSync(text, Array.from({ length: 2000 }, (_, i) => line(i)).join(''));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const options: BenchOptions = {
  job: '',
  shape: '',
  rival: '',
  device: 'cpu',
  threads: 1,
  patience: 0,
  smoke: true,
  text,
};

async function rowsOf(asked: Partial<BenchOptions>): Promise<Row[]> {
  const rows: Row[] = [];
  await bench({ ...options, ...asked }, (event) => {
    if (event.kind === 'row') rows.push(event.row);
  });
  return rows;
}

describe('the benchmark', () => {
  it.each(jobs.map((job) => [job.name, job] as const))(
    'measures %s on every shape, and leaves no tensor behind',
    async (name, job) => {
      const device = openDevice('cpu');
      await rowsOf({ job: `^${name}$` }); // tables that are made once and kept
      const before = memoryOf(device).tensors;
      const rows = await rowsOf({ job: `^${name}$` });
      const expected = casesFor([job], { job: `^${name}$`, shape: '', smoke: true }, 'cpu').length;
      expect(expected).toBeGreaterThan(0);
      expect(rows.filter(isFailed)).toEqual([]);
      expect(new Set(rows.map((r) => r.shape.name.replace(/-1t$/, ''))).size).toBe(expected);
      expect(new Set(rows.map((r) => r.job))).toEqual(new Set(job.rows ?? [name]));
      for (const row of rows) expect(row).toMatchObject({ value: expect.any(Number), n: 2 });
      expect(memoryOf(device).tensors).toBe(before);
    },
  );

  it('tells the seconds of each phase of GRPO', async () => {
    const [row] = await rowsOf({ job: 'grpo', shape: 'micro', dtype: 'f32' });
    expect(row).toMatchObject({ rival: 'train-moe-f32', metric: 'completions_per_s' });
    for (const phase of ['rollout', 'reward', 'score', 'train'])
      expect((row as unknown as Record<string, number>)[`${phase}_seconds`], phase).toBeGreaterThan(0);
  });

  it('keeps to the rows and variants that are asked for', async () => {
    const names = async (asked: Partial<BenchOptions>) =>
      (await rowsOf(asked)).map((r) => `${r.job} ${r.shape.name} ${r.rival}`);
    expect(await names({ job: 'moe_backward', shape: '^nano' })).toEqual([
      'moe_backward nano-t2048-h256-i256-e16-k4 train-moe',
    ]);
    expect(await names({ job: 'train_step', shape: 'micro', dtype: 'bf16' })).toEqual([
      'train_step cpu-micro train-moe-bf16',
    ]);
    expect(await names({ job: 'train_step', shape: 'micro', rival: 'f32' })).toEqual([
      'train_step cpu-micro train-moe-f32',
    ]);
    expect(await names({ job: 'gemm', rival: 'torch' })).toEqual([]);
  });

  it('marks what no other program measures', async () => {
    const rows = await rowsOf({ job: '^(copy|cross_entropy)$' });
    expect(rows.map((r) => [r.job, 'own' in r])).toContainEqual(['copy', true]);
    expect(rows.map((r) => [r.job, 'own' in r])).toContainEqual(['cross_entropy', false]);
  });

  it('tells which options of the same job take less memory, where a case did not fit', () => {
    const error = new TrainMoeError('out-of-memory', 'No room.');
    const told = (job: JobName, shape: string, device: string, dtype?: 'bf16') => {
      const given = casesFor(
        jobs,
        { job: `^${job}$`, shape: `^${shape}$`, smoke: false },
        device === 'cpu' ? 'cpu' : 'cuda',
      );
      return (withSmaller(error, given[0]!, { device, dtype }) as Error).message;
    };
    const smoke = '--smoke, which measures nothing.';
    expect(told('train_step', 'cpu-nano', 'cpu')).toBe(
      `No room. Less memory take: --dtype bf16; --shape '^cpu-micro$'; ${smoke}`,
    );
    expect(told('train_step', 'cpu-micro', 'cpu', 'bf16')).toBe(`No room. Less memory take: ${smoke}`);
    expect(told('gemm', '8192x4096x512-bf16', 'cuda')).toBe(
      `No room. Less memory take: --shape '^128x7168x16384-bf16$'; --shape '^8192x576x2048-bf16$'; ${smoke}`,
    );
    const other = new Error('no room');
    expect(withSmaller(other, { job: 'gemm', shape: { name: 'x' }, own: false }, { device: 'cpu' })).toBe(other);
  });

  it('makes a row with them of a case that does not fit', async () => {
    const cpu = openDevice('cpu');
    addon.trimMemory(cpu.index);
    addon.limitMemory(cpu.index, memoryOf(cpu).live + 1_000_000);
    try {
      const rows = await rowsOf({ job: 'train_step', shape: 'micro' });
      expect(rows.map((row) => isFailed(row) && row.error)).toEqual(
        Array(2).fill(
          expect.stringMatching(
            /(has no room for|The weights take) .* Less memory take: .*--smoke, which measures nothing\.$/,
          ),
        ),
      );
    } finally {
      addon.limitMemory(cpu.index, 0);
    }
  });

  it('trains the model it times, and watches the memory of each variant', async () => {
    const rows = await rowsOf({ job: 'train_step', shape: 'micro' });
    const [row, narrow] = rows as unknown as Record<string, number>[];
    expect(narrow!.peak_bytes).not.toBe(row!.peak_bytes);
    expect(row!.first_loss).toBeCloseTo(Math.log(512), 1); // random weights know nothing
    expect(row!.last_loss).not.toBe(row!.first_loss);
    expect(row!.peak_bytes).toBeGreaterThan(0);
  });
});

describe('train-moe bench', () => {
  it('prints the machine, then a line a measurement', async () => {
    const words = ['bench', '--smoke', '--job', 'rmsnorm', '--shape', 'f32', '--device', 'cpu', '--threads', '1'];
    const { code, out } = await commandLine(words);
    const lines = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(code).toBe(0);
    expect(lines[0]).toEqual({ env: expect.objectContaining({ device: 'cpu', threads: 1, cpu: expect.any(String) }) });
    expect(lines.slice(1).map((row) => [row.rival, row.job, row.metric])).toEqual([
      ['train-moe', 'rmsnorm_forward', 'gb_per_s'],
      ['train-moe', 'rmsnorm_backward', 'gb_per_s'],
    ]);
  });

  it('prints a table for people', async () => {
    const { out } = await commandLine(['bench', '--smoke', '--job', '^router$', '--table', '--threads', '1']);
    expect(out).toMatch(/^cpu · /);
    expect(out).toMatch(/\nrouter +t2048-h512-e16-k4 +train-moe +\S+ \S*tok\/s /);
  });

  it('refuses what makes no sense', async () => {
    expect(await commandLine(['bench', '--job', '('])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--job is "(", which is no regular expression'),
    });
  });
});
