import { chmodSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { listFiles } from '../../src/data/collect/files.js';
import { kindOf } from '../../src/data/collect/formats.js';
import { createReporter, emptyReport, type ProblemPolicy } from '../../src/data/collect/report.js';
import { tempFolder } from './helpers.js';

function list(sources: string[], policy: ProblemPolicy = 'throw') {
  const report = emptyReport();
  const files = listFiles(sources, createReporter(report, policy, 10)).map((file) => file.path);
  return { files, report };
}

const relative = (folder: string, files: readonly string[]) => files.map((file) => path.relative(folder, file));

describe('kindOf', () => {
  test.each([
    ['a.txt', { format: 'text', gzip: false }],
    ['A.JSONL.GZ', { format: 'jsonl', gzip: true }],
    ['x.d.ts', { format: 'whole', gzip: false }],
    ['Makefile', { format: 'whole', gzip: false }],
    ['c', undefined],
    ['constructor.constructor', undefined],
    ['a.parquet', { format: 'parquet', gzip: false }],
    ['a.parquet.gz', undefined],
    ['photo.png', undefined],
  ])('%s', (name, expected) => {
    expect(kindOf(name)).toEqual(expected);
  });
});

describe('listFiles', () => {
  test('walks folders in code unit order, known endings only, without version control and packages', () => {
    const folder = tempFolder({
      'b.txt': 'b',
      'B.txt': 'B',
      'a/z.md': 'z',
      'a/photo.png': 'p',
      '.git/config.txt': 'no',
      'node_modules/x/readme.md': 'no',
      'a/src/main.rs': 'fn main() {}',
      'a/src/blob.py': 'import x\0\0',
    });
    const { files, report } = list([folder]);
    expect(relative(folder, files)).toEqual(['B.txt', 'a/src/main.rs', 'a/z.md', 'b.txt']);
    expect(report.problems.map((p) => [p.kind, path.basename(p.file)])).toEqual([['binary', 'blob.py']]);
  });

  test('enters node_modules when it is named, by folder or by pattern', () => {
    const folder = tempFolder({ 'node_modules/x/readme.md': 'x', 'node_modules/x/node_modules/y/readme.md': 'y' });
    const both = ['node_modules/x/node_modules/y/readme.md', 'node_modules/x/readme.md'];
    expect(relative(folder, list([path.join(folder, 'node_modules')]).files)).toEqual(both);
    expect(relative(folder, list([path.join(folder, 'node_modules/**/*.md')]).files)).toEqual(both);
  });

  test('takes a file once, however often it is reached', () => {
    const folder = tempFolder({ 'a.txt': 'a', 'b.txt': 'b' });
    symlinkSync(path.join(folder, 'a.txt'), path.join(folder, 'c.txt'));
    const { files } = list([path.join(folder, 'b.txt'), folder, path.join(folder, '*.txt')]);
    expect(relative(folder, files)).toEqual(['b.txt', 'a.txt']);
  });

  test('takes a named file with any ending as text, unless it is binary', () => {
    const folder = tempFolder({ 'notes.log': 'log', 'image.bin': Uint8Array.of(1, 0, 2) });
    const { files, report } = list([path.join(folder, 'notes.log'), path.join(folder, 'image.bin')]);
    expect(relative(folder, files)).toEqual(['notes.log']);
    expect(report.problems[0]?.kind).toBe('binary');
  });

  test('ends in a link loop and says so', () => {
    const folder = tempFolder({ 'sub/a.txt': 'a' });
    symlinkSync(folder, path.join(folder, 'sub', 'loop'));
    const { files, report } = list([folder]);
    expect(relative(folder, files)).toEqual(['sub/a.txt']);
    expect(report.problems.map((p) => p.kind)).toEqual(['link-loop']);
    expect(report.problems[0]!.message).toContain(path.join(folder, 'sub', 'loop'));
  });

  test('names a broken link', () => {
    const folder = tempFolder({ 'a.txt': 'a' });
    symlinkSync(path.join(folder, 'gone'), path.join(folder, 'broken.txt'));
    expect(() => list([folder])).toThrow(/broken\.txt cannot be read: ENOENT/);
    const { files, report } = list([folder], 'report');
    expect(relative(folder, files)).toEqual(['a.txt']);
    expect(report.problems.map((p) => p.kind)).toEqual(['unreadable']);
  });

  test('names a folder that may not be read', () => {
    const folder = tempFolder({ 'a.txt': 'a', 'locked/b.txt': 'b' });
    chmodSync(path.join(folder, 'locked'), 0);
    const { files, report } = asNobody(() => list([folder], 'report'));
    chmodSync(path.join(folder, 'locked'), 0o755);
    expect(relative(folder, files)).toEqual(['a.txt']);
    expect(report.problems[0]!.message).toMatch(/locked cannot be read: EACCES/);
  });

  test('names a file that may not be read', () => {
    const folder = tempFolder({ 'a.txt': 'a', 'secret.py': 'import os' });
    chmodSync(path.join(folder, 'secret.py'), 0);
    expect(() => asNobody(() => list([folder]))).toThrow(/secret\.py cannot be read: EACCES.*mend it or leave it out/);
    const { files, report } = asNobody(() => list([folder], 'report'));
    expect(relative(folder, files)).toEqual(['a.txt']);
    expect(report.problemCount).toBe(1);
  });

  test('names a source that is not there and a pattern that matches nothing', () => {
    const folder = tempFolder({});
    expect(() => list([path.join(folder, 'none.txt')])).toThrow(/none\.txt does not exist; give a file/);
    expect(() => list([path.join(folder, '*.txt')])).toThrow(/matches no file/);
  });
});

/** Root may read everything; so tests of refusals run as somebody else when they are started by root. */
function asNobody<T>(run: () => T): T {
  const root = process.geteuid?.() === 0;
  if (root) process.seteuid?.(65534);
  try {
    return run();
  } finally {
    if (root) process.seteuid?.(0);
  }
}
