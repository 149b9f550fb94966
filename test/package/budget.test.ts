import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from './installed.js';

const read = (path: string) => JSON.parse(readFileSync(join(root, path), 'utf8'));

/** Folders of the packages that a user's installation brings, from the lock file. */
function runtimePackages(): string[] {
  const { packages } = read('package-lock.json') as {
    packages: Record<string, { dev?: true; optional?: true; devOptional?: true }>;
  };
  return Object.entries(packages).flatMap(([folder, about]) =>
    folder === '' || about.dev || about.devOptional || about.optional ? [] : [folder],
  );
}

/** Bytes of a package's own files, without those of packages inside it. */
function bytesIn(folder: string): number {
  let sum = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name === 'node_modules') continue;
    const path = join(folder, entry.name);
    sum += entry.isDirectory() ? bytesIn(path) : statSync(path).size;
  }
  return sum;
}

describe('run-time dependencies', () => {
  const folders = runtimePackages();

  it('are fewer than 60 packages', () => {
    expect(folders.length).toBeGreaterThanOrEqual(Object.keys(read('package.json').dependencies).length);
    expect(folders.length).toBeLessThan(60);
  });

  it('are less than 10 MB', () => {
    const sizes = folders.map((folder) => [bytesIn(join(root, folder)), folder] as const).sort((a, b) => b[0] - a[0]);
    const total = sizes.reduce((sum, [bytes]) => sum + bytes, 0);
    expect(total, `the largest: ${sizes.slice(0, 5).join('; ')}`).toBeLessThan(10e6);
  });

  it('have no install script', () => {
    const { packages } = read('package-lock.json') as { packages: Record<string, { hasInstallScript?: true }> };
    expect(folders.filter((folder) => packages[folder]!.hasInstallScript)).toEqual([]);
  });
});

describe('the package', () => {
  const files = packedFiles();

  it('holds what a build from source and a start need', () => {
    const needed = ['LICENSE', 'README.md', 'package.json', 'CMakeLists.txt', 'binding.gyp', 'native/build.mjs'];
    for (const path of [
      ...needed,
      'native/ops.def',
      'native/addon.cc',
      'native/binding/ops.cc',
      'kernels/cpu/backend.cc',
    ])
      expect(files).toContain(path);
  });

  it('holds every source that is committed under native and kernels', () => {
    const tracked = execFileSync('git', ['ls-files', 'native', 'kernels'], { cwd: root, encoding: 'utf8' });
    const missing = tracked.split('\n').filter((path) => path && existsSync(join(root, path)) && !files.includes(path));
    expect(missing).toEqual([]);
  });

  it('holds nothing else', () => {
    const known =
      /^(dist|native|kernels|prebuilds)\/|^(LICENSE|README\.md|package\.json|CMakeLists\.txt|binding\.gyp)$/;
    expect(files.filter((path) => !known.test(path))).toEqual([]);
    expect(files.filter((path) => /\.(map|tsbuildinfo|o|log)$/.test(path))).toEqual([]);
    expect(files.filter((path) => /^dist\/(bench|cli)\/.*\.d\.ts$/.test(path))).toEqual([]); // nobody can import them
  });

  it('has no script that npm would run before or after another of ours', () => {
    const names = Object.keys(read('package.json').scripts);
    const hooks = names.filter((name) => names.some((other) => [`pre${other}`, `post${other}`].includes(name)));
    expect(hooks).toEqual([]); // "prebuild" would build a release before each "build"
  });

  it('runs no script that reaches out to a network', () => {
    const { scripts } = read('package.json') as { scripts: Record<string, string> };
    for (const [name, script] of Object.entries(scripts))
      expect(script, name).not.toMatch(/curl|wget|https?:|download/);
  });
});

/** What `npm pack` would put into the tarball. */
function packedFiles(): string[] {
  const text = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const report = JSON.parse(text) as { files: { path: string }[] }[] | Record<string, { files: { path: string }[] }>;
  return Object.values(report)[0]!.files.map(({ path }) => path);
}
