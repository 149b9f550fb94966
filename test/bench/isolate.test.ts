import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { CaseName } from '../../src/bench/cases.js';
import { isolate } from '../../src/bench/isolate.js';
import type { BenchOptions } from '../../src/bench/options.js';
import type { Row } from '../../src/bench/report.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-isolate-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const name: CaseName = { job: 'gemm', shape: { name: 'small' }, own: false };
const options: BenchOptions = { job: '', shape: '', rival: '', device: 'cpu', threads: 1, patience: 0, smoke: true };

/** What a case reports whose process does this. */
async function rowsOf(body: string, limit = 30): Promise<Row[]> {
  const program = join(folder, 'child.mjs');
  const start = 'const { name, options } = JSON.parse(process.argv[2]); const send = (m) => process.send(m);\n';
  writeFileSync(program, `${start}${body}`);
  const rows: Row[] = [];
  await isolate(name, options, (row) => rows.push(row), { program, limit });
  return rows;
}

const head = { rival: 'train-moe', job: 'gemm', shape: { name: 'small' } };

describe('a case in a process of its own', () => {
  it('is told what to run, and its rows arrive in order', async () => {
    const rows = await rowsOf(`
      send({ row: { at: 1, job: name.job, threads: options.threads } });
      send({ row: { at: 2 } });
      send({ done: true });
      process.disconnect();`);
    expect(rows).toEqual([{ at: 1, job: 'gemm', threads: 1 }, { at: 2 }]);
  });

  it('may crash: the rows before it stay, and one says how it ended', async () => {
    const rows = await rowsOf(`process.send({ row: { at: 1 } }, () => process.kill(process.pid, 'SIGSEGV'));`);
    expect(rows).toEqual([{ at: 1 }, { ...head, error: 'its process ended with SIGSEGV' }]);
    expect(await rowsOf('process.exit(3);')).toEqual([{ ...head, error: 'its process ended with status 3' }]);
  });

  it('may throw: the error is told', async () => {
    const rows = await rowsOf(`throw new RangeError('no such thing');`);
    expect(rows).toEqual([{ ...head, error: 'RangeError: no such thing' }]);
  });

  it('may hang: it is ended', async () => {
    const rows = await rowsOf('setInterval(() => {}, 1000);', 1);
    expect(rows).toEqual([{ ...head, error: 'not done after 1 s' }]);
  });
});
