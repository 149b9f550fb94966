import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { commands } from '../../src/cli/commands/index.js';
import { exitCodes } from '../../src/cli/exit_codes.js';
import { packageRoot } from '../../src/cli/package.js';
import { configKeys, presets } from '../../src/config/index.js';

const readme = readFileSync(join(packageRoot, 'README.md'), 'utf8');

/** First cells of the table whose first column has this title. */
function firstCells(title: string): string[] {
  const rows = readme.split('\n');
  const head = rows.findIndex((row) => row.startsWith(`| ${title} `));
  const end = rows.indexOf('', head);
  return rows.slice(head + 2, end).map((row) => row.split('|')[1]!.trim());
}

describe('the README', () => {
  it('lists the exit codes there are', () => {
    expect(firstCells('code').map(Number)).toEqual(Object.values(exitCodes));
  });

  it('lists the commands there are', () => {
    const words = firstCells('command').flatMap((cell) =>
      [...cell.matchAll(/`([a-z0-9-]+)[^`]*`/g)].map(([, word]) => word!),
    );
    const listed = words.filter((word) => !['encode', 'decode'].includes(word)); // these belong to `tokenizer`
    const known = commands.map(({ command }) => String(command).split(' ')[0]).filter((name) => name !== '$0');
    expect(listed.sort()).toEqual(known.sort());
  });

  it('names presets and settings that exist', () => {
    const named = /Presets: ([^.]*)\./
      .exec(readme)![1]!
      .match(/`[^`]+`/g)!
      .map((name) => name.slice(1, -1));
    expect(named.filter((name) => !Object.hasOwn(presets, name))).toEqual([]);
    const paths = new Set(configKeys().map(({ path }) => path));
    const flags = [...readme.matchAll(/--((?:train|data|tokenizer|log|save|evaluate)\.[a-zA-Z.]+)/g)].map(
      ([, path]) => path!,
    );
    expect(flags.length).toBeGreaterThan(0);
    expect(flags.filter((path) => !paths.has(path))).toEqual([]);
  });

  it('has examples that pass the compiler', () => {
    const blocks = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code!);
    const examples = blocks.filter((code) => code.includes("from 'train-moe'"));
    expect(examples.length).toBeGreaterThan(0);
    const folder = join(packageRoot, 'node_modules', '.cache', 'train-moe-tests', 'readme');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'example.ts'), examples.join('\n'));
    const settings = {
      extends: join(packageRoot, 'tsconfig.json'),
      compilerOptions: { paths: { 'train-moe': [join(packageRoot, 'src', 'index.ts')] }, noUnusedLocals: false },
      include: ['example.ts'],
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(settings));
    const { stdout } = spawnSync(join(packageRoot, 'node_modules', '.bin', 'tsc'), ['-p', '.', '--pretty', 'false'], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect(stdout.split('\n').filter((line) => line.startsWith('example.ts'))).toEqual([]);
    rmSync(folder, { recursive: true });
  });
});
