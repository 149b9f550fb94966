// The test tier that needs a GPU: `npm run test:gpu`. Without one it says why and ends with status 3.
//
//   npm run test:gpu -- [--emulator] [--only tests|sanitizer] [--out DIR]
//
// --emulator   rehearses the same files on the host emulator at a part of the cases
// --only       the tests alone, or compute-sanitizer alone, which takes most of the time
// --out DIR    writes vitest's reports and the sanitizer's findings there
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findings, hazards, misjudged } from './racecheck.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const args = process.argv.slice(2);
const rehearsal = args.includes('--emulator');
const out = args.includes('--out') ? args[args.indexOf('--out') + 1] : join(root, 'build', 'test-gpu');
const only = args.includes('--only') ? args[args.indexOf('--only') + 1] : undefined;
const kind = rehearsal ? 'emulator' : 'cuda';
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
mkdirSync(out, { recursive: true });

/** One sentence about what is missing, or undefined: found in a process of its own, since a failed CUDA start stays. */
function unusable() {
  const library = `train_moe_${kind}.so`;
  const paths = [join(root, 'build', 'Release', library), join(root, 'prebuilds', 'linux-x64', library)];
  const path = paths.find(existsSync);
  if (!path) return `${library} is not built; run node native/build.mjs --${kind}`;
  const code = `
    const addon = require('node-gyp-build')(${JSON.stringify(root)});
    try { addon.openLibrary(${JSON.stringify(path)}); } catch (error) { process.stdout.write(error.message); }`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['-e', code], { cwd: root, encoding: 'utf8' });
  return status === 0 ? stdout || undefined : stderr.trim().split('\n').at(-1);
}

/** Runs the files and returns true when all passed. */
function test(name, { files = [], before = [], env = {} } = {}) {
  const report = ['--reporter=default', '--reporter=json', `--outputFile.json=${join(out, `${name}.json`)}`];
  const words = [
    ...before,
    process.execPath,
    vitest,
    'run',
    '--config',
    'test/gpu/vitest.config.ts',
    ...report,
    ...files,
  ];
  const start = performance.now();
  const { status } = spawnSync(words[0], words.slice(1), {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, TRAIN_MOE_GPU_DEVICE: kind, ...env },
  });
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  console.log(`== ${name}: ${status === 0 ? 'passed' : 'FAILED'}, ${seconds} s`);
  return status === 0;
}

/** Runs the calls under a tool of compute-sanitizer. A tool that is not told otherwise fails for any finding. */
function sanitize(name, tool, options, { fail = ['--error-exitcode', '9'], ...rest } = {}) {
  const log = ['--log-file', join(out, `${name}.log`)];
  const before = [sanitizer(), '--tool', tool, '--target-processes', 'all', ...fail, ...log, ...options];
  const files = ['test/gpu/ops.gpu.ts', 'test/gpu/calls.gpu.ts'];
  return test(name, { files, before, env: { TRAIN_MOE_GPU_SANITIZED: '1' }, ...rest });
}

/** racecheck on the kernel that it misjudges: each hazard by itself, so that other kinds than the known are findings. */
function racecheckMisjudged() {
  const report = ['--racecheck-report', 'hazard', '--print-limit', '0', '--show-backtrace', 'no'];
  const files = ['test/gpu/calls.gpu.ts', '-t', 'attention by hopper'];
  const options = ['--kernel-name', `kns=${misjudged}`, ...report];
  const passed = sanitize('racecheck-keys', 'racecheck', options, { fail: [], files });
  const path = join(out, 'racecheck-keys.log');
  const log = existsSync(path) ? readFileSync(path, 'utf8') : '';
  const found = findings(log);
  for (const line of found.slice(0, 20)) console.log(`== racecheck-keys: ${line}`);
  console.log(
    `== racecheck-keys: ${hazards(log)} hazards, ${found.length} findings beside the known (kernels/README.md)`,
  );
  return passed && found.length === 0;
}

/** On the path, or where toolkits install it. */
function sanitizer() {
  const folders = ['/usr/local', '/opt'].flatMap((top) =>
    (existsSync(top) ? readdirSync(top) : []).filter((f) => f.startsWith('cuda')).map((f) => join(top, f)),
  );
  const places = folders.flatMap((f) => [join(f, 'bin'), join(f, 'compute-sanitizer')]);
  return [...(process.env.PATH ?? '').split(':'), ...places]
    .map((folder) => join(folder, 'compute-sanitizer'))
    .find(existsSync);
}

const why = unusable();
if (why) {
  console.error(`train-moe: the GPU tests cannot run: ${why.replace(/\.$/, '')}.`);
  process.exit(3);
}
let passed = only === 'sanitizer' || test('tests');
if (only === 'tests') console.log('== sanitizer: left out, as asked');
else if (rehearsal) console.log('== sanitizer: left out, the emulator checks bounds and barriers itself');
else if (!sanitizer()) {
  console.log(
    '== sanitizer: FAILED, compute-sanitizer was found neither on the path nor in a CUDA toolkit; --only tests does without',
  );
  passed = false;
} else {
  passed = sanitize('memcheck', 'memcheck', []) && passed;
  passed = sanitize('racecheck', 'racecheck', ['--kernel-name-exclude', `kns=${misjudged}`]) && passed;
  passed = racecheckMisjudged() && passed;
}
process.exit(passed ? 0 : 1);
