import { spawn } from 'node:child_process';
import type { Load } from './facts.js';

const MARK = 'train-moe-probe:';

// Runs in a child, from the command line, so that it needs no file of its own and loads nothing but the binary. It
// computes through the backend: a binary with instructions that this CPU lacks loads well and dies at the first of them.
const PROBE = `
const [addonPath, libraryPath] = process.argv.slice(1);
const say = (found) => process.stdout.write(${JSON.stringify(MARK)} + JSON.stringify(found) + '\\n');
let abi;
try {
  const addon = require(addonPath);
  abi = addon.abi;
  const backend = libraryPath ? addon.openLibrary(libraryPath) : addon.openCpu();
  const f32 = 0, x = new Float32Array(256);
  const id = addon.create(backend.index, f32, 0, x.length);
  addon.ops.fill(id, 1.5);
  addon.read(id, x);
  if (!x.every((value) => value === 1.5)) throw new Error('it fills memory with wrong values');
  say({ state: 'works', abi, backend: backend.name, isas: addon.hostInfo().isas });
} catch (error) {
  say({ state: 'refused', abi, reason: String(error && error.message || error).split('\\n')[0] });
}
`;

/**
 * Loads the addon, and through it the backend library when one is given, in a child process: a bad binary may end its
 * process, and a failed CUDA start may poison every later one.
 */
export function probe(addon: string, library?: string, seconds = 60): Promise<Load> {
  const words = ['-e', PROBE, '--', addon, ...(library === undefined ? [] : [library])];
  return new Promise((resolve) => {
    const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'pipe'], env: childEnvironment() });
    let output = '';
    let errors = '';
    let hung = false;
    const timer = setTimeout(() => {
      hung = true;
      child.kill('SIGKILL');
    }, seconds * 1000);
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.stderr.on('data', (chunk) => {
      errors = (errors + chunk).slice(-2000);
    });
    child.on('error', (error) => {
      clearTimeout(timer);
      resolve({ state: 'refused', reason: `the child process did not start (${error.message})` });
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (hung) resolve({ state: 'hung', seconds });
      else resolve(readProbe(output) ?? ended(code, signal, errors));
    });
  });
}

/** The line of a probe's output that holds what it found. Libraries may print lines of their own. */
export function readProbe(output: string): Load | undefined {
  const line = output.split('\n').find((text) => text.startsWith(MARK));
  return line === undefined ? undefined : (JSON.parse(line.slice(MARK.length)) as Load);
}

function ended(code: number | null, signal: string | null, errors: string): Load {
  if (signal !== null) return { state: 'crashed', signal };
  const last = errors.trim().split('\n').at(-1);
  return { state: 'refused', reason: `the child process ended with status ${code}${last ? `: ${last}` : ''}` };
}

/** Without options of the parent's Node, such as a test runner's loader or a debugger's port. */
function childEnvironment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _, ...rest } = process.env;
  return rest;
}
