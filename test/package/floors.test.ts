import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from './installed.js';

/** The floors of src/, lowest first. A file imports from its own floor and from those below it. */
const FLOORS = [
  'errors.ts',
  'native.ts',
  'native.gen.ts',
  'tensor',
  'ops',
  'nn',
  'terminal',
  'tokenizer',
  'data',
  'config',
  'hub',
  'models',
  'generate',
  'optim',
  'train',
  'index.ts',
  'cli',
];

/** Floors that are plain TypeScript: they work without native code. */
const PLAIN = ['terminal', 'tokenizer', 'data', 'config', 'hub'];

/** Imports that go up all the same. The list may only shrink: an entry that is not needed fails the test. */
const TOLERATED = ['models/forward.ts -> train'];

interface Import {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

function imports(): Import[] {
  const source = join(root, 'src');
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'));
  return files.flatMap((file) => {
    const text = readFileSync(join(source, file), 'utf8');
    return [...text.matchAll(/\b(?:from|import)\s*\(?\s*'(\.[^']*)'/g)].map(([, path]) => {
      const target = relative(source, join(source, dirname(file), path!)).replace(/\.js$/, '.ts');
      return { file, from: floorOf(file), to: floorOf(target) };
    });
  });
}

const floorOf = (path: string): string => path.split('/')[0]!;

describe('the floors of src/', () => {
  const all = imports();

  it('are all known', () => {
    const found = new Set(all.flatMap(({ from, to }) => [from, to]));
    expect([...found].filter((floor) => !FLOORS.includes(floor))).toEqual([]);
  });

  it('import only from themselves and from those below', () => {
    const upward = all.filter(({ from, to }) => FLOORS.indexOf(to) > FLOORS.indexOf(from));
    const named = new Set(upward.map(({ file, to }) => `${file} -> ${to}`));
    expect([...named].sort()).toEqual([...TOLERATED].sort());
  });

  it('that are plain TypeScript reach no native code', () => {
    const native = ['native.ts', 'native.gen.ts', 'tensor', 'ops', 'nn', 'optim', 'models', 'generate', 'train'];
    expect(all.filter(({ from, to }) => PLAIN.includes(from) && native.includes(to))).toEqual([]);
  });
});
