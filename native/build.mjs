// Builds the addon into build/Release. The description is CMakeLists.txt; this only finds cmake (through cmake-js where it
// is installed, else directly) and tells it where the Node-API headers of node_modules are. No network is used.
//
//   node native/build.mjs [--cuda] [--emulator] [--out DIR] [-DNAME=VALUE ...]
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(import.meta.url);
const args = process.argv.slice(2);
const outIndex = args.indexOf('--out');
const out = outIndex >= 0 ? args[outIndex + 1] : join(root, 'build', 'cmake');
const wants = (flag) => (args.includes(flag) ? 'ON' : 'OFF');
if (args.includes('--cuda') && args.includes('--emulator')) {
  console.error('train-moe: nvcc and g++ compile the same files; build --cuda and --emulator one after the other.');
  process.exit(2);
}
const definitions = [
  `-DTRAIN_MOE_CUDA=${wants('--cuda')}`, // said each time, for the build folder remembers
  `-DTRAIN_MOE_EMULATOR=${wants('--emulator')}`,
  ...args.filter((a) => a.startsWith('-D')),
];
definitions.push(
  `-DNODE_API_INCLUDE=${join(dirname(require.resolve('node-api-headers/package.json')), 'include')}`,
  `-DNODE_ADDON_API_INCLUDE=${dirname(require.resolve('node-addon-api/package.json'))}`,
);

function run(command, commandArgs) {
  const result = spawnSync(command, commandArgs, { cwd: root, stdio: 'inherit' });
  if (result.error?.code === 'ENOENT') {
    console.error(`train-moe: ${command} was not found. A build from source needs cmake >= 3.18, make and g++ >= 12.`);
    process.exit(1);
  }
  if (result.status !== 0) process.exit(result.status ?? 1);
}

/** Takes the place of an older file in one step, which programs that run on that one do not notice. */
function install(from, to) {
  copyFileSync(from, `${to}.new`);
  renameSync(`${to}.new`, to);
}

function cmakeJs() {
  try {
    return join(dirname(require.resolve('cmake-js/package.json')), 'bin', 'cmake-js');
  } catch {
    return undefined; // a user's install has no development dependencies
  }
}

const jobs = String(process.env.TRAIN_MOE_BUILD_JOBS ?? (await import('node:os')).availableParallelism());
const tool = cmakeJs();
if (tool && existsSync(tool)) {
  const options = definitions.map((d) => `--CD${d.slice(2)}`);
  // compile alone would keep the options of an earlier configuration.
  run(process.execPath, [tool, 'configure', '--out', out, ...options]);
  run(process.execPath, [tool, 'build', '--out', out, '--parallel', jobs, ...options]);
} else {
  run('cmake', ['-S', root, '-B', out, '-DCMAKE_BUILD_TYPE=Release', ...definitions]);
  run('cmake', ['--build', out, '--parallel', jobs]);
}

const release = join(root, 'build', 'Release');
mkdirSync(release, { recursive: true });
for (const folder of [out, join(out, 'Release')]) {
  if (!existsSync(folder)) continue;
  for (const file of readdirSync(folder))
    if (/^train_moe(_\w+)?\.(node|so)$/.test(file)) install(join(folder, file), join(release, file));
}
