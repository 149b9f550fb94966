import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { TrainMoeError } from '../../../errors.js';
import { DRIVERS, STARTED } from './drivers.js';
import { interpreterOf, isRoot, type Language, NOBODY, sandboxTools, systemMounts } from './tools.js';

/** What one program may use. */
export interface SandboxLimits {
  /** Wall-clock deadline. */
  readonly timeoutMs: number;
  /** CPU seconds of one process. */
  readonly cpuSeconds: number;
  /** Data of one process, and the file system, which lies in memory. */
  readonly memoryMb: number;
  readonly filesMb: number;
  /** Processes and threads together. */
  readonly processes: number;
  /** Bytes of output; more ends the program. */
  readonly outputBytes: number;
}

export const DEFAULT_LIMITS: Readonly<Record<Language, SandboxLimits>> = {
  python: { timeoutMs: 10_000, cpuSeconds: 10, memoryMb: 512, filesMb: 16, processes: 4, outputBytes: 1 << 20 },
  // Node starts about a dozen threads of its own.
  javascript: { timeoutMs: 10_000, cpuSeconds: 10, memoryMb: 1024, filesMb: 16, processes: 32, outputBytes: 1 << 20 },
};

/** How a program ended. `detail`: the end of what it wrote to its error output. */
export interface SandboxResult {
  readonly passed: boolean;
  readonly outcome: 'passed' | 'failed' | 'timeout' | 'output';
  readonly detail: string;
}

/**
 * Runs a program in a bubblewrap child: no network, no view of the machine but /usr (read only), its own process
 * table, an empty file system in memory that is gone afterwards, and limits on CPU, memory, processes, files and
 * output. As root the child runs as "nobody", because root is exempt from the limit on processes.
 * @throws TrainMoeError where the sandbox or the interpreter is missing, or the sandbox does not come up
 */
export async function runInSandbox(
  language: Language,
  program: string,
  limits: SandboxLimits = DEFAULT_LIMITS[language],
): Promise<SandboxResult> {
  const token = randomBytes(16).toString('hex');
  const [command, ...words] = commandLine(language, limits);
  const identity = isRoot() ? { uid: NOBODY, gid: NOBODY } : {};
  const child = spawn(command!, words, { stdio: 'pipe', env: {}, cwd: '/', ...identity });
  child.stdin.on('error', () => {}); // a program that ends without reading closes the pipe
  child.stdin.end(JSON.stringify({ program, token }));
  return await ending(child, token, limits);
}

function commandLine(language: Language, limits: SandboxLimits): string[] {
  const { bwrap, prlimit } = sandboxTools();
  const { program, folders } = interpreterOf(language);
  const megabytes = (count: number): number => count * 2 ** 20;
  return [
    ...[bwrap, '--unshare-all', '--unshare-user', '--die-with-parent', '--new-session', '--clearenv'],
    ...['--hostname', 'sandbox', '--cap-drop', 'ALL'],
    ...['--ro-bind', '/usr', '/usr', ...systemMounts(), ...folders.flatMap((folder) => ['--ro-bind', folder, folder])],
    ...['--proc', '/proc', '--dev', '/dev', '--size', String(megabytes(limits.filesMb)), '--tmpfs', '/tmp'],
    ...['--setenv', 'PATH', '/usr/bin:/bin', '--setenv', 'HOME', '/tmp', '--setenv', 'LANG', 'C.UTF-8'],
    ...['--setenv', 'OPENBLAS_NUM_THREADS', '1', '--setenv', 'OMP_NUM_THREADS', '1', '--chdir', '/tmp', '--'],
    ...[prlimit, `--cpu=${limits.cpuSeconds}`, `--data=${megabytes(limits.memoryMb)}`, `--nproc=${limits.processes}`],
    ...[`--fsize=${megabytes(limits.filesMb)}`, '--nofile=64', '--core=0', '--stack=67108864', '--'],
    ...DRIVERS[language](program),
  ];
}

const DETAIL = 2000;

function ending(child: ChildProcess, token: string, limits: SandboxLimits): Promise<SandboxResult> {
  return new Promise((resolve, reject) => {
    let cause: 'timeout' | 'output' | undefined;
    let written = 0;
    let output = '';
    let errors = '';
    let started = false;
    // Killing bubblewrap kills the first process of the name space, and with it every other.
    const stop = (why: 'timeout' | 'output'): void => {
      cause ??= why;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(stop, limits.timeoutMs, 'timeout');
    const read = (keep: (text: string) => void) => (chunk: Buffer) => {
      written += chunk.length;
      if (written > limits.outputBytes) stop('output');
      else keep(chunk.toString('latin1'));
    };
    child.stdout!.on(
      'data',
      read((text) => {
        output = (output + text).slice(-DETAIL);
      }),
    );
    child.stderr!.on(
      'data',
      read((text) => {
        errors = (errors + text).slice(-DETAIL);
      }),
    );
    child.stdout!.once('data', (chunk: Buffer) => {
      started = chunk[0] === STARTED;
    });
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(new TrainMoeError('not-found', `The sandbox could not be started: ${error.message}.`, { cause: error }));
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      const passed = cause === undefined && code === 0 && output.trimEnd().endsWith(token);
      const detail = Buffer.from(errors, 'latin1').toString('utf8').trim();
      if (!started) reject(failedToStart(cause, detail));
      else resolve({ passed, outcome: passed ? 'passed' : (cause ?? 'failed'), detail });
    });
  });
}

/** Not the program's fault: the sample must not count against the completion. */
const failedToStart = (cause: string | undefined, detail: string): TrainMoeError =>
  new TrainMoeError(
    'internal',
    `The sandbox did not start the program (${cause ?? 'it ended'}): ${detail.slice(-300) || 'it said nothing'}.`,
  );

/**
 * Runs a program that must pass, so that a machine on which the sandbox cannot work is found before training.
 * @throws TrainMoeError with what the sandbox said
 */
export async function probeSandbox(language: Language): Promise<void> {
  const trial = language === 'python' ? 'x = 1' : 'const x = 1;';
  let said: string;
  try {
    const { passed, detail } = await runInSandbox(language, trial);
    if (passed) return;
    said = detail;
  } catch (error) {
    if (!(error instanceof TrainMoeError) || error.code !== 'internal') throw error;
    said = error.message;
  }
  throw new TrainMoeError(
    'not-found',
    `The sandbox of the code reward does not work here (${said.slice(-400) || 'it said nothing'}). ` +
      'It needs unprivileged user name spaces: in a container, allow them; elsewhere, see user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns. Or leave the code reward out.',
  );
}
