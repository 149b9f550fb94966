// Makes prebuilds/linux-x64 for a release: the addon by prebuildify, and the CUDA library with code for every architecture where
// nvcc is. Then checks what a user will get (native/check_prebuilds.mjs). Needs `npm run build:ts` before; uses no network where
// Node came with its headers. node-gyp, which prebuildify starts, empties build/.
//
//   node native/prebuild.mjs [-DNAME=VALUE ...]      definitions of the CUDA library, e.g. -DTRAIN_MOE_CUDA_ARCHS=90a-real
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, realpathSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkPrebuilds } from './check_prebuilds.mjs';

// Real code for each generation that is sold or rented, and the newest PTX for those to come.
const ARCHITECTURES = '80-real;86-real;89-real;90a-real;100a-real;120';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const definitions = process.argv.slice(2).filter((a) => a.startsWith('-D')); // later ones win over ours
const target = join(root, 'prebuilds', `${process.platform}-${process.arch}`);

function run(command, words, environment = {}) {
  const start = performance.now();
  const env = { ...process.env, ...environment };
  const { status, error } = spawnSync(command, words, { cwd: root, stdio: 'inherit', env });
  if (status !== 0) {
    console.error(`train-moe: ${command} ${words.join(' ')} failed${error ? ` (${error.message})` : ''}.`);
    process.exit(1);
  }
  return ((performance.now() - start) / 60_000).toFixed(1);
}

/** Where the running Node has its headers, so that node-gyp does not fetch them. */
function headers() {
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  return existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? { npm_config_nodedir: prefix } : {};
}

function install(from, name) {
  const to = join(target, name);
  copyFileSync(from, to);
  chmodSync(to, 0o755);
  const before = statSync(to).size;
  run('strip', ['--strip-unneeded', to]);
  console.log(`${name}: ${megabytes(before)}, stripped ${megabytes(statSync(to).size)}`);
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`;

rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
const nvcc = spawnSync('nvcc', ['--version']).status === 0;
const prebuildify = createRequire(import.meta.url).resolve('prebuildify/bin.js');
const minutes = run(process.execPath, [prebuildify, '--napi', '--strip', '--tag-libc'], headers());
console.log(`the addon: ${minutes} minutes`);
if (nvcc) {
  const ours = [
    '-DTRAIN_MOE_CUDA=ON',
    '-DTRAIN_MOE_EMULATOR=OFF',
    '-DTRAIN_MOE_CPU=portable',
    `-DTRAIN_MOE_CUDA_ARCHS=${ARCHITECTURES}`,
  ];
  const options = ['-DCMAKE_BUILD_TYPE=Release', ...ours, ...definitions];
  const configured = run('cmake', ['-S', '.', '-B', 'build/prebuild-cuda', ...options]);
  const jobs = process.env.TRAIN_MOE_BUILD_JOBS ?? '2';
  const built = run('cmake', ['--build', 'build/prebuild-cuda', '--target', 'train_moe_cuda', '--parallel', jobs]);
  console.log(`the CUDA library: ${(Number(configured) + Number(built)).toFixed(1)} minutes`);
  install(join(root, 'build', 'prebuild-cuda', 'train_moe_cuda.so'), 'train_moe_cuda.so');
} else console.log('nvcc was not found: without the CUDA library');

const faults = await checkPrebuilds(root, { log: console.log });
for (const fault of faults) console.error(`train-moe: ${fault}`);
process.exit(faults.length > 0 ? 1 : 0);
