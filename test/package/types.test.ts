import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import * as api from '../../src/index.js';
import { root } from './installed.js';

/*
 * The types as another package sees them: a compiler that writes declarations must be able to name everything that appears in a
 * public signature, and a package's `exports` let it name only what index.ts exports.
 */

const folder = join(root, 'node_modules', '.cache', 'train-moe-tests', 'types');
const tsc = (words: readonly string[], cwd: string) =>
  spawnSync(join(root, 'node_modules', '.bin', 'tsc'), [...words, '--pretty', 'false'], { cwd, encoding: 'utf8' });

beforeAll(() => {
  rmSync(folder, { recursive: true, force: true });
  const installed = join(folder, 'node_modules', 'train-moe');
  mkdirSync(installed, { recursive: true });
  cpSync(join(root, 'package.json'), join(installed, 'package.json'));
  tsc(
    [
      '-p',
      'tsconfig.build.json',
      '--emitDeclarationOnly',
      '--declarationMap',
      'false',
      '--outDir',
      `${installed}/dist`,
    ],
    root,
  );
  const options = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    module: 'nodenext',
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable'],
    types: ['node'],
    declaration: true,
    emitDeclarationOnly: true,
    outDir: 'out',
  };
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, include: ['*.ts'] }));
}, 120_000);

/** Names of types that an index exports, those of the indices that it passes on included; generic ones with arguments. */
function exportedTypes(index: string, prefix = 'api'): string[] {
  const text = readFileSync(index, 'utf8').replace(/\/\*.*?\*\/|\/\/.*/gs, '');
  const own = [...text.matchAll(/export (type )?\{(.*?)\}/gs)].flatMap(([, all, names]) =>
    names!
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '' && (all || name.startsWith('type ')))
      .map((name) => `${prefix}.${name.replace(/^type /, '').replace(/.* as /, '')}`),
  );
  const passed = [...text.matchAll(/export \*(?: as (\w+))? from '(.*?)'/g)].flatMap(([, name, file]) =>
    exportedTypes(join(dirname(index), file!.replace(/\.js$/, '.ts')), name ? `${prefix}.${name}` : prefix),
  );
  return [...own, ...passed];
}

/** Public values by their paths, those in namespaces included. */
function exportedValues(space: object, prefix = 'api'): [path: string, value: unknown][] {
  return Object.entries(space).flatMap(([name, value]): [string, unknown][] =>
    (value as { [Symbol.toStringTag]?: string })?.[Symbol.toStringTag] === 'Module'
      ? exportedValues(value as object, `${prefix}.${name}`)
      : [[`${prefix}.${name}`, value]],
  );
}

/** Lines whose inferred types hold what a public signature mentions: parameters, results, members, one level deep. */
function uses(): string[] {
  const isClass = (value: unknown) => typeof value === 'function' && /^class\b/.test(String(value));
  const values = exportedValues(api).map(([path, value]) => {
    if (isClass(value)) return `(x: InstanceType<typeof ${path}>) => ({ ...x })`;
    if (typeof value !== 'function') return path;
    const call = `(${path} as (...x: unknown[]) => ReturnType<typeof ${path}>)(...x)`;
    return `(...x: Parameters<typeof ${path}>) => ({ given: [...x], result: ${call} })`;
  });
  const generic: Readonly<Record<string, string>> = {
    'api.Graph': '<api.Tensor>',
    'api.Preferences': '<api.PreferencePair>',
    'api.RunEvent': '<object, object, object, object>',
    'api.CommonEnd': '<object>',
    'api.Stage': '<string>',
    'api.nn.Weights': '<api.nn.Param>',
    'api.nn.BlockWeights': '<api.Tensor, api.Tensor>',
    'api.nn.DecoderWeights': '<api.Tensor>',
    'api.nn.Layer': '<api.Tensor>',
  };
  const types = exportedTypes(join(root, 'src', 'index.ts')).map(
    (path) => `(x: Extract<Exclude<${path}${generic[path] ?? ''}, string>, object> | { none: true }) => ({ ...x })`,
  );
  return [...values, ...types].map((code, i) => `export const use${i} = ${code};`);
}

describe('the public types', () => {
  it('can all be named from outside', () => {
    const lines = uses();
    expect(lines.length).toBeGreaterThan(300);
    writeFileSync(join(folder, 'use.ts'), ["import * as api from 'train-moe';", ...lines].join('\n'));
    const { stdout } = tsc(['-p', '.'], folder);
    const code = readFileSync(join(folder, 'use.ts'), 'utf8').split('\n');
    const faults = stdout.split('\n').flatMap((line) => {
      const found = /^use\.ts\((\d+),.*?error TS\d+: (.*)/.exec(line);
      return found
        ? [`${code[Number(found[1]) - 1]!.slice(0, 90)}: ${found[2]}`]
        : line.includes('error')
          ? [line]
          : [];
    });
    expect(faults).toEqual([]);
  }, 120_000);
});
