// What has to hold of prebuilds/ before a release: each binary loads in a process of its own, none asks for a newer glibc or for
// a C++ library of the machine, and the package stays small. `node native/check_prebuilds.mjs` checks what is there.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const TARBALL_LIMIT = 150e6; // bytes; npm and its mirrors refuse or time out on much larger ones

/** The newest glibc version that a binary's symbols ask for, and whether it needs libstdc++. */
export function symbolsOf(path) {
  const listing = execFileSync('objdump', ['-T', path], { encoding: 'utf8', maxBuffer: 1 << 28 });
  const versions = [...listing.matchAll(/\bGLIBC_(\d+(?:\.\d+)*)/g)].map((m) => m[1]);
  return { glibc: versions.sort(compare).at(-1), cpp: /\*UND\*.*\b(GLIBCXX|CXXABI)_/.test(listing) };
}

const compare = (a, b) => {
  const [x, y] = [a, b].map((v) => v.split('.').map(Number));
  for (let i = 0; i < Math.max(x.length, y.length); i++)
    if ((x[i] ?? 0) !== (y[i] ?? 0)) return (x[i] ?? 0) - (y[i] ?? 0);
  return 0;
};

/** Sentences about what does not hold; empty when all is well. `log` is told the figures. */
export async function checkPrebuilds(root, { log = () => {}, limit = TARBALL_LIMIT } = {}) {
  const { requirements } = await import(join(root, 'dist', 'cli', 'doctor', 'requirements.js'));
  const { probe } = await import(join(root, 'dist', 'cli', 'doctor', 'probe.js'));
  const folder = join(root, 'prebuilds', `${process.platform}-${process.arch}`);
  const files = existsSync(folder) ? readdirSync(folder) : [];
  const addon = files.find((f) => f.endsWith('.node'));
  if (!addon) return [`${folder} holds no addon; run npm run prebuilds.`];
  const faults = [];
  for (const file of files) {
    const path = join(folder, file);
    const { glibc, cpp } = symbolsOf(path);
    if (compare(glibc ?? '0', requirements.glibc) > 0)
      faults.push(
        `${file} asks for glibc ${glibc}, and ${requirements.glibc} is promised; build it on an older system.`,
      );
    if (cpp) faults.push(`${file} asks for the machine's libstdc++; link it statically.`);
    const load = await probe(join(folder, addon), file === addon ? undefined : path);
    // A library without a GPU says so and is well; anything else that stops it is not.
    const noGpu = load.state === 'refused' && /no NVIDIA driver|NVIDIA driver knows|no GPU/.test(load.reason);
    if (load.state !== 'works' && !noGpu) faults.push(`${file} does not load: ${JSON.stringify(load)}.`);
    const state = load.state === 'works' ? `works as ${load.backend}` : load.reason;
    log(`${file}: ${(statSync(path).size / 1e6).toFixed(2)} MB, glibc ${glibc}, ${state}`);
  }
  const size = packedSize(root);
  log(`the package: ${(size / 1e6).toFixed(2)} MB packed`);
  if (size > limit) faults.push(`the package is ${size} bytes packed, and ${limit} are the limit.`);
  return faults;
}

function packedSize(root) {
  const words = ['pack', '--dry-run', '--json', '--ignore-scripts'];
  const report = JSON.parse(
    execFileSync('npm', words, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
  );
  return Object.values(report)[0].size;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const faults = await checkPrebuilds(join(dirname(fileURLToPath(import.meta.url)), '..'), { log: console.log });
  for (const fault of faults) console.error(`train-moe: ${fault}`);
  process.exit(faults.length > 0 ? 1 : 0);
}
