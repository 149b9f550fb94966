import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const src = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'src');

/** The floors of the house, lowest first: a file imports only from its own floor and those before it. */
const FLOORS = [
  ['abi.ts', 'errors.ts', 'native.ts', 'native.gen.ts'],
  ['terminal'],
  ['tensor'],
  ['parallel'],
  ['ops'],
  ['optim'],
  ['hub'],
  ['tokenizer'],
  ['data'],
  ['nn'],
  ['models'],
  ['generate'],
  ['config'],
  ['train'],
  ['rl'],
  ['recipes'],
  ['serve'],
  ['bench'],
  ['index.ts'],
  ['cli'],
] as const;

/** Floors that are plain TypeScript: no tensors, no native code. */
const PLAIN = ['tokenizer', 'data', 'terminal', 'config', 'hub'];

const files = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? files(path) : entry.name.endsWith('.ts') ? [path] : [];
  });

const topOf = (path: string): string => relative(src, path).split('/')[0]!;
const floorOf = (path: string): number =>
  FLOORS.findIndex((names) => (names as readonly string[]).includes(topOf(path)));

/** Files of ours that a file imports, statically or not. Type-only imports cost nothing at run time but still bind floors. */
const importsOf = (path: string): string[] =>
  [...readFileSync(path, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((m) =>
    resolve(dirname(path), m[1]!.replace(/\.js$/, '.ts')),
  );

describe('the house', () => {
  it('gives every file a floor', () => {
    expect(
      files(src)
        .filter((f) => floorOf(f) < 0)
        .map((f) => relative(src, f)),
    ).toEqual([]);
  });

  it('imports only downwards', () => {
    const upwards = files(src).flatMap((file) =>
      importsOf(file)
        .filter((target) => floorOf(target) > floorOf(file))
        .map((target) => `${relative(src, file)} -> ${relative(src, target)}`),
    );
    expect(upwards).toEqual([]);
  });

  it('keeps plain floors free of tensors', () => {
    const native = files(src).filter(
      (file) =>
        PLAIN.includes(topOf(file)) &&
        importsOf(file).some((t) => ['native.ts', 'native.gen.ts', 'tensor', 'ops'].includes(topOf(t))),
    );
    expect(native.map((f) => relative(src, f))).toEqual([]);
  });

  it('has nothing that imports cli', () => {
    const users = files(src).filter((file) => topOf(file) !== 'cli' && importsOf(file).some((t) => topOf(t) === 'cli'));
    expect(users.map((f) => relative(src, f))).toEqual([]);
  });
});
