import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ABI } from '../../src/abi.js';
import { requirements } from '../../src/cli/doctor/requirements.js';
import { builtAddon, installPackage, root } from './installed.js';

interface Checks {
  checkPrebuilds(root: string, options: { log?: (line: string) => void; limit?: number }): Promise<string[]>;
}
const { checkPrebuilds } = (await import(join(root, 'native', 'check_prebuilds.mjs'))) as Checks;
const objdump = spawnSync('objdump', ['--version']).status === 0;

describe.skipIf(!builtAddon || !objdump)(
  'the check of prebuilt binaries (needs a build and objdump)',
  { timeout: 240_000 },
  () => {
    const home = installPackage('prebuilds');
    const folder = join(home, 'prebuilds', `${process.platform}-${process.arch}`);
    const lay = (...extra: string[]) => {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
      copyFileSync(builtAddon!, join(folder, 'train-moe.glibc.node'));
      for (const path of extra) copyFileSync(path, join(folder, path.split('/').at(-1)!));
    };

    it('passes what was built here, and tells sizes and what loaded', async () => {
      const cuda = join(root, 'build', 'Release', 'train_moe_cuda.so');
      lay(...[cuda].filter(existsSync));
      const lines: string[] = [];
      expect(await checkPrebuilds(home, { log: (line) => lines.push(line) })).toEqual([]);
      expect(lines).toHaveLength(readdirSync(folder).length + 1);
      expect(lines.find((l) => l.includes('.node'))).toMatch(
        /^train-moe\.glibc\.node: [\d.]+ MB, glibc 2\.\d+, works as cpu-/,
      );
      if (existsSync(cuda))
        expect(lines.find((l) => l.includes('cuda.so'))).toMatch(/works as cuda|NVIDIA driver|no GPU/);
      expect(lines.at(-1)).toMatch(/^the package: [\d.]+ MB packed$/);
    });

    it('has the addon as prebuildify names it, where node-gyp-build looks', () => {
      rmSync(folder, { recursive: true, force: true });
      const release = join(home, 'build', 'Release');
      mkdirSync(release, { recursive: true });
      copyFileSync(builtAddon!, join(release, 'train_moe.node'));
      const words = [join(root, 'node_modules', 'prebuildify', 'bin.js'), '--napi', '--strip', '--tag-libc'];
      const env = { ...process.env, PREBUILD_NODE_GYP: 'true' }; // what node-gyp would build is there
      expect(spawnSync(process.execPath, words, { cwd: home, env }).status).toBe(0);
      expect(readdirSync(folder)).toEqual(['train-moe.glibc.node']);
      rmSync(join(home, 'build'), { recursive: true });
      const load = "const load = require('node-gyp-build'); console.log(load.path('.'), load('.').abi)";
      const found = spawnSync(process.execPath, ['-e', load], { cwd: home, encoding: 'utf8' });
      expect(found.stdout).toBe(`${join(folder, 'train-moe.glibc.node')} ${ABI}\n`);
    });

    it('finds a package that is too large, and a binary that does not load', async () => {
      lay();
      expect(await checkPrebuilds(home, { limit: 1000 })).toEqual([
        expect.stringMatching(/^the package is \d+ bytes packed, and 1000 are the limit\.$/),
      ]);
      const other = spawnSync('cc', ['-shared', '-x', 'c', '-', '-o', join(folder, 'train_moe_cuda.so')], {
        input: 'int nothing;',
      });
      if (other.status !== 0) return; // no C compiler
      expect(await checkPrebuilds(home, {})).toEqual([
        expect.stringMatching(/^train_moe_cuda\.so does not load: .*it has no function train_moe_backend/),
      ]);
    });

    it('finds a binary that asks for a newer glibc, and one that asks for a C++ library', async () => {
      const library = join(folder, 'train_moe_cuda.so');
      const [newer, versions] = [join(home, 'libnewer.so'), join(home, 'versions')];
      writeFileSync(versions, 'GLIBC_2.99 { newer; };');
      const build = (compiler: string, language: string, source: string, out: string, ...words: string[]) =>
        spawnSync(compiler, ['-shared', '-fPIC', '-x', language, '-', '-o', out, ...words], { input: source }).status;
      lay();
      if (build('cc', 'c', 'void newer(void) {}', newer, `-Wl,--version-script=${versions}`) !== 0) return; // no compiler
      build('cc', 'c', 'void newer(void); void call(void) { newer(); }', library, '-x', 'none', newer);
      expect(await checkPrebuilds(home, {})).toContain(
        `train_moe_cuda.so asks for glibc 2.99, and ${requirements.glibc} is promised; build it on an older system.`,
      );
      if (build('c++', 'c++', '#include <string>\nstd::string* s() { return new std::string(99, 0); }', library) !== 0)
        return;
      expect(await checkPrebuilds(home, {})).toContain(
        "train_moe_cuda.so asks for the machine's libstdc++; link it statically.",
      );
    });

    it('asks for a prebuild where there is none', async () => {
      rmSync(folder, { recursive: true, force: true });
      writeFileSync(join(home, 'prebuilds', 'note.txt'), '');
      expect(await checkPrebuilds(home, {})).toEqual([expect.stringMatching(/holds no addon; run npm run prebuilds/)]);
    });
  },
);
