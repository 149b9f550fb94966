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

interface Exported {
  /** As a program writes it: `api.nn.feed`. */
  readonly path: string;
  /** In the file that declares it. */
  readonly name: string;
  readonly file: string;
  readonly isType: boolean;
}

/** What an index exports, with what it passes on from other indices. */
function exportsOf(index: string, prefix = 'api'): Exported[] {
  const text = readFileSync(index, 'utf8').replace(/\/\*.*?\*\/|\/\/.*/gs, '');
  const beside = (file: string) => join(dirname(index), file.replace(/\.js$/, '.ts'));
  const own = [...text.matchAll(/export (type )?\{(.*?)\} from '(.*?)'/gs)].flatMap(([, all, names, file]) =>
    [...names!.matchAll(/(type )?(\w+)(?: as (\w+))?/g)].map(([, type, name, alias]) => {
      return { path: `${prefix}.${alias ?? name}`, name: name!, file: beside(file!), isType: Boolean(all ?? type) };
    }),
  );
  const passed = [...text.matchAll(/export \*(?: as (\w+))? from '(.*?)'/g)].flatMap(([, name, file]) =>
    exportsOf(beside(file!), name ? `${prefix}.${name}` : prefix),
  );
  return [...own, ...passed];
}

/** The comment before a declaration; undefined where it has none. */
function commentOn({ name, file }: Exported): string | undefined {
  const text = readFileSync(file, 'utf8');
  const at = text.search(new RegExp(`^export (async )?(interface|type|const|function\\*?|class) ${name}\\b`, 'm'));
  if (at >= 0) return /(\/\*\*(?:(?!\*\/).)*\*\/)\s*$/s.exec(text.slice(0, at))?.[1];
  const further = exportsOf(file, '').find(({ path }) => path === `.${name}`);
  return further && commentOn(further);
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
  const types = exported
    .filter(({ isType }) => isType)
    .map(
      ({ path }) =>
        `(x: Extract<Exclude<${path}${generic[path] ?? ''}, string>, object> | { none: true }) => ({ ...x })`,
    );
  return [...values, ...types].map((code, i) => `export const use${i} = ${code};`);
}

const exported = exportsOf(join(root, 'src', 'index.ts'));

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

  it('are of a kind that compilers before 5.7 read, which know no parameters of typed arrays', () => {
    const seen = new Set<string>();
    const visit = (file: string) => {
      if (seen.has(file)) return;
      seen.add(file);
      const text = readFileSync(file, 'utf8');
      for (const [, next] of text.matchAll(/(?:from|import\()\s*['"](\..*?)\.js['"]/g))
        visit(join(dirname(file), `${next}.d.ts`));
    };
    visit(join(folder, 'node_modules', 'train-moe', 'dist', 'index.d.ts'));
    expect(seen.size).toBeGreaterThan(80);
    expect([...seen].filter((file) => /Array<ArrayBuffer/.test(readFileSync(file, 'utf8')))).toEqual([]);
  });

  it('say what they are where an editor shows it', () => {
    expect(exported.length).toBeGreaterThan(300);
    expect(exported.filter((name) => !commentOn(name)).map(({ path }) => path)).toEqual([]);
  });
});
