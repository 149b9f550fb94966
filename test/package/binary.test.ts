import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, describe, expect, it } from 'vitest';
import { compareVersions } from '../../src/cli/doctor/parse.js';
import { requirements } from '../../src/cli/doctor/requirements.js';
import { builtAddon, root } from './installed.js';

const has = (tool: string): boolean => spawnSync(tool, ['--version']).status === 0;
const linux = process.platform === 'linux';

/** Lines that a tool prints; long listings are not held in memory. */
async function* linesOf(tool: string, words: readonly string[]): AsyncGenerator<string> {
  const child = spawn(tool, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  yield* createInterface({ input: child.stdout });
}

describe.skipIf(!builtAddon || !linux || !has('objdump'))('the built addon (needs a build and objdump)', () => {
  it('asks for no newer glibc than is declared, and for no C++ library', async () => {
    const symbols: string[] = [];
    for await (const line of linesOf('objdump', ['-T', builtAddon!])) symbols.push(line);
    const versions = symbols.flatMap((line) => /\bGLIBC_([\d.]+)/.exec(line)?.[1] ?? []);
    expect(versions.length).toBeGreaterThan(0);
    const newer = symbols.filter((line) => {
      const version = /\bGLIBC_([\d.]+)/.exec(line)?.[1];
      return version !== undefined && compareVersions(version, requirements.glibc) > 0;
    });
    expect(newer).toEqual([]);
    expect(symbols.filter((line) => /\*UND\*.*\b(GLIBCXX|CXXABI)_/.test(line))).toEqual([]);
  });

  it('has AVX instructions only in the functions that are chosen by the CPU', async () => {
    // Inline functions that an AVX object and portable code both hold are merged by the linker: if it kept the AVX one,
    // an older CPU would die in code that seems to have nothing to do with AVX.
    const guilty = new Set<string>();
    let guarded = 0;
    let name = '';
    for await (const line of linesOf('objdump', ['-d', '-C', '--no-show-raw-insn', builtAddon!])) {
      const header = /^[0-9a-f]+ <(.*)>:$/.exec(line);
      if (header) name = header[1]!;
      else if (/\tv[a-z0-9]+ /.test(line)) {
        if (/moe::(avx2|avx512|avx512bf16)::/.test(name)) guarded++;
        else guilty.add(name);
      }
    }
    expect([...guilty]).toEqual([]);
    if (process.arch === 'x64') expect(guarded).toBeGreaterThan(0);
  });
});

const objects = join(root, 'build', 'cmake', 'CMakeFiles');

/** Mangled names of the functions that the objects below `folder` offer for sharing (weak: inline and template code). */
async function weakFunctions(folder: string): Promise<Set<string>> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.o'));
  const found = new Set<string>();
  for (const file of files)
    for await (const line of linesOf('nm', ['--defined-only', join(folder, file)])) {
      const name = /^[0-9a-f]+ W (.*)$/.exec(line)?.[1];
      if (name) found.add(name);
    }
  return found;
}

describe.skipIf(!existsSync(join(objects, 'cpu_portable.dir')) || !has('nm'))(
  'objects (need build/cmake and nm)',
  () => {
    it.each(['avx2', 'avx512', 'avx512bf16'])(
      'of %s share no function that the portable ones do not hold',
      async (isa) => {
        const folder = join(objects, `cpu_${isa}.dir`);
        if (!existsSync(folder)) return; // not compiled for this processor
        // Portable objects are linked first, so a function that they hold too is taken from them.
        const portable = await weakFunctions(join(objects, 'cpu_portable.dir'));
        const others = [...(await weakFunctions(folder))].filter((name) => !portable.has(name));
        expect(others.filter((name) => !name.includes(`3moe${isa.length}${isa}`))).toEqual([]); // moe::avx2 in mangled names
      },
    );
  },
);

describe.skipIf(!builtAddon)('the loader (needs a build)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'train-moe-loader-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each(['train-moe.node', 'train-moe.glibc.node'])('finds prebuilds/%s when there is no build folder', (file) => {
    const home = join(folder, file);
    const prebuilds = join(home, 'prebuilds', `${process.platform}-${process.arch}`);
    mkdirSync(prebuilds, { recursive: true });
    copyFileSync(join(root, 'package.json'), join(home, 'package.json'));
    copyFileSync(builtAddon!, join(prebuilds, file));
    symlinkSync(join(root, 'node_modules'), join(home, 'node_modules'));
    const load = `const load = require('node-gyp-build'); console.log(load.path(process.cwd()), load(process.cwd()).abi)`;
    const { stdout, stderr } = spawnSync(process.execPath, ['-e', load], { cwd: home, encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(stdout).toBe(`${join(prebuilds, file)} ${requirements.abi}\n`);
  });
});
