import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** The addon that was built here, or undefined before the first build. */
export const builtAddon = [join(root, 'build', 'Release', 'train_moe.node')].find(existsSync);

/**
 * Lays the package out as an installation has it: compiled sources, package.json, and the built addon as a prebuilt
 * binary (no build folder). It lies in a folder under node_modules, so that its dependencies are found.
 */
export function installPackage(name: string): string {
  const folder = join(root, 'node_modules', '.cache', 'train-moe-tests', name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  cpSync(join(root, 'package.json'), join(folder, 'package.json'));
  compile(join(folder, 'dist'));
  if (builtAddon) {
    const prebuilds = join(folder, 'prebuilds', `${process.platform}-${process.arch}`);
    mkdirSync(prebuilds, { recursive: true });
    symlinkSync(builtAddon, join(prebuilds, 'train-moe.node'));
  }
  return folder;
}

function compile(out: string): void {
  const compiler = join(root, 'node_modules', '.bin', 'tsc');
  const words = [
    '-p',
    join(root, 'tsconfig.build.json'),
    '--outDir',
    out,
    '--declaration',
    'false',
    '--sourceMap',
    'false',
  ];
  spawnSync(compiler, words, { cwd: root }); // whether the types are right is told by `npm run typecheck`
  if (!existsSync(join(out, 'cli', 'index.js'))) throw new Error(`${compiler} wrote no ${out}/cli/index.js`);
  spawnSync(process.execPath, [join(out, 'cli', 'flags', 'write.js')]);
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

/** Runs the installed command; `use` may play with the process while it runs. */
export function runInstalled(
  folder: string,
  words: readonly string[],
  options: { input?: string; env?: NodeJS.ProcessEnv; use?: (child: ReturnType<typeof spawn>) => void } = {},
): Promise<Ended> {
  const { NODE_OPTIONS: _, ...plain } = process.env;
  const child = spawn(process.execPath, [join(folder, 'dist', 'cli', 'index.js'), ...words], {
    cwd: folder,
    env: { ...plain, ...options.env },
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    err += chunk;
  });
  child.stdin.end(options.input ?? '');
  options.use?.(child);
  return new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal, out, err })));
}
