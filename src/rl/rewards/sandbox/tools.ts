import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, lstatSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { TrainMoeError } from '../../../errors.js';

/** Languages that code rewards can run. */
export type Language = 'python' | 'javascript';

/** Who the sandbox runs as when we are root: limits on processes do not bind root. "nobody" on every Linux. */
export const NOBODY = 65534;
export const isRoot = (): boolean => process.getuid?.() === 0;

const FOLDERS = ['/usr/bin', '/bin', '/usr/local/bin', '/usr/sbin', '/sbin'];

function find(tool: string): string | undefined {
  const folders = new Set([
    ...FOLDERS,
    ...(process.env.PATH ?? '').split(':').filter((folder) => path.isAbsolute(folder)),
  ]);
  return [...folders].map((folder) => path.join(folder, tool)).find(isProgram);
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return lstatSync(realpathSync(file)).isFile();
  } catch {
    return false;
  }
}

const INSTALL =
  'Install it ("apt-get install bubblewrap", "dnf install bubblewrap" or "apk add bubblewrap util-linux") or leave the code reward out; code is never run outside a sandbox.';

/** The programs that make the sandbox. @throws TrainMoeError where one is missing */
export function sandboxTools(): { readonly bwrap: string; readonly prlimit: string } {
  if (process.platform !== 'linux') {
    throw new TrainMoeError(
      'not-found',
      `The code reward's sandbox needs Linux, and this is ${process.platform}; leave the code reward out.`,
    );
  }
  const bwrap = find('bwrap');
  const prlimit = find('prlimit');
  if (!bwrap)
    throw new TrainMoeError('not-found', `The code reward needs bubblewrap, and no "bwrap" was found. ${INSTALL}`);
  if (!prlimit)
    throw new TrainMoeError(
      'not-found',
      `The code reward needs "prlimit" of util-linux, and it was not found. ${INSTALL}`,
    );
  return { bwrap, prlimit };
}

/** An interpreter and the folders outside /usr that it needs. */
export interface Interpreter {
  readonly program: string;
  readonly folders: readonly string[];
}

/** @throws TrainMoeError where the language has no interpreter on this machine */
export function interpreterOf(language: Language): Interpreter {
  let interpreter = known.get(language);
  if (!interpreter) {
    interpreter = language === 'python' ? python() : javascript();
    known.set(language, interpreter);
  }
  return interpreter;
}

/** Looking for an interpreter may start one, so it is done once. */
const known = new Map<Language, Interpreter>();

function python(): Interpreter {
  const system = ['/usr/bin/python3', '/usr/local/bin/python3'].find(isProgram);
  if (system) return { program: system, folders: [] };
  const launcher = find('python3');
  if (!launcher)
    throw new TrainMoeError(
      'not-found',
      'The code reward needs Python 3, and no "python3" was found; install it ("apt-get install python3").',
    );
  // A launcher script may stand for an interpreter elsewhere, which only itself can tell.
  const report = 'import os, sys; print(os.path.realpath(sys.executable)); print(sys.base_prefix)';
  const [program, prefix] = execFileSync(launcher, ['-I', '-c', report], { encoding: 'utf8', timeout: 10_000 })
    .trim()
    .split('\n');
  return { program: program!, folders: [prefix!] };
}

/** The Node that runs us; as root, one that others may read. */
function javascript(): Interpreter {
  const own = realpathSync(process.execPath);
  const inHome = isRoot() && !/^\/(?:usr|opt)\//.test(own);
  const program = inHome ? find('node') : own;
  if (!program || (inHome && !/^\/(?:usr|opt)\//.test(realpathSync(program)))) {
    throw new TrainMoeError(
      'not-found',
      `The code reward runs JavaScript as "nobody", which cannot read ${own}; install Node below /usr.`,
    );
  }
  const real = realpathSync(program);
  return { program: real, folders: real.startsWith('/usr/') ? [] : [path.dirname(path.dirname(real))] };
}

/** /bin, /lib and /lib64 as this system has them: links into /usr, or folders. */
export function systemMounts(): string[] {
  return ['/bin', '/sbin', '/lib', '/lib64', '/lib32'].flatMap((folder) => {
    if (!existsSync(folder)) return [];
    const linked = lstatSync(folder).isSymbolicLink();
    return linked ? ['--symlink', realpathSync(folder).slice(1), folder] : ['--ro-bind', folder, folder];
  });
}
