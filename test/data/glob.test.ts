import { symlinkSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { expandBraces, glob, segmentPattern } from '../../src/data/collect/glob.js';
import { tempFolder } from './helpers.js';

describe('expandBraces', () => {
  test.each([
    ['a', ['a']],
    ['{a,b}.txt', ['a.txt', 'b.txt']],
    ['x{a,b{c,d}}y{1,2}', ['xay1', 'xay2', 'xbcy1', 'xbcy2', 'xbdy1', 'xbdy2']],
    ['{1..3}', ['1', '2', '3']],
    ['{03..01}', ['03', '02', '01']],
    ['{-1..1}', ['-1', '0', '1']],
    ['{a}', ['{a}']],
    ['{a', ['{a']],
    ['\\{a,b}', ['\\{a,b}']],
    ['{,x}y', ['y', 'xy']],
  ])('%s', (pattern, expected) => {
    expect(expandBraces(pattern)).toEqual(expected);
  });

  test('leaves a range too large to be meant as it is', () => {
    expect(expandBraces('{1..99999999}')).toEqual(['{1..99999999}']);
  });
});

describe('segmentPattern', () => {
  test.each([
    ['*.txt', 'a.txt', true],
    ['*.txt', '.txt', false],
    ['.*', '.git', true],
    ['a?c', 'abc', true],
    ['a?c', 'ac', false],
    ['[a-c]x', 'bx', true],
    ['[!a-c]x', 'bx', false],
    ['[^a]x', 'ax', false],
    ['[!a]x', '^x', true],
    ['[]a]x', ']x', true],
    ['[ab', '[ab', true],
    ['\\*', '*', true],
    ['\\*', 'a', false],
    ['a+b(c)', 'a+b(c)', true],
    ['?', '😀', true],
  ])('%s against %s is %s', (pattern, name, expected) => {
    expect(segmentPattern(pattern).test(name)).toBe(expected);
  });
});

describe('glob', () => {
  const tree = () =>
    tempFolder({
      'a.txt': '',
      'b.md': '',
      'sub/c.txt': '',
      'sub/deep/d.txt': '',
      'sub/.hidden/e.txt': '',
      'node_modules/f.txt': '',
    });
  const find = (folder: string, pattern: string) =>
    glob(path.join(folder, pattern), (name) => name === 'node_modules').map((file) => path.relative(folder, file));

  test.each([
    ['*.txt', ['a.txt']],
    ['**/*.txt', ['a.txt', 'sub/c.txt', 'sub/deep/d.txt']],
    ['**', ['a.txt', 'b.md', 'sub', 'sub/c.txt', 'sub/deep', 'sub/deep/d.txt']],
    ['*/*.txt', ['sub/c.txt']],
    ['sub/**/d.txt', ['sub/deep/d.txt']],
    ['**/**/**/d.txt', ['sub/deep/d.txt']],
    ['{a,b}.{txt,md}', ['a.txt', 'b.md']],
    ['sub/.hidden/*', ['sub/.hidden/e.txt']],
    ['node_modules/*.txt', ['node_modules/f.txt']],
    ['nothing/*', []],
  ])('%s', (pattern, expected) => {
    expect(find(tree(), pattern).filter((name) => name !== '')).toEqual(expected);
  });

  test('ends in a folder that links to itself', () => {
    const folder = tree();
    symlinkSync(folder, path.join(folder, 'sub', 'loop'));
    expect(find(folder, '**/d.txt')).toEqual(['sub/deep/d.txt']);
  });
});
