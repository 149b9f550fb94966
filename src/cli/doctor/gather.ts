import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { arch, availableParallelism, cpus, freemem, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packageRoot, readPackage } from '../package.js';
import type { Binary, Facts, GpuFacts, Load, SystemFacts } from './facts.js';
import { cpuOf, driverVersion, gpusOf, memoryLimit, osName, packageManagerOf } from './parse.js';
import { probe } from './probe.js';

/** Looks at everything; loads binaries in child processes only. */
export async function gatherFacts(root = packageRoot): Promise<Facts> {
  const [binaries, gpu] = await Promise.all([findBinaries(root), findGpus()]);
  return {
    system: systemFacts(),
    node: {
      version: process.versions.node,
      napi: Number(process.versions.napi),
      packageManager: packageManagerOf(process.env.npm_config_user_agent),
    },
    install: { root, version: readPackage(root)?.version },
    binaries,
    gpu,
  };
}

function systemFacts(): SystemFacts {
  const cpu = cpuOf(readText('/proc/cpuinfo'));
  const limit = memoryLimit(readText('/sys/fs/cgroup/memory.max'));
  const memory = Math.min(totalmem(), limit ?? Number.POSITIVE_INFINITY);
  return {
    platform: platform(),
    arch: arch(),
    name: osName(readText('/etc/os-release')) ?? platform(),
    kernel: release(),
    glibc: glibcVersion(),
    cpu: cpu.model ?? cpus()[0]?.model ?? 'unknown',
    features: cpu.features,
    cores: availableParallelism(),
    memory,
    available: Math.min(freemem(), memory),
  };
}

/** The glibc this process runs with, from Node's own report. */
function glibcVersion(): string | undefined {
  Object.assign(process.report, { excludeNetwork: true }); // else the report looks up names, which may take seconds
  const report = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return report.header.glibcVersionRuntime;
}

/** Native files in the order the loader tries them: built here first, then prebuilt. */
async function findBinaries(root: string): Promise<Binary[]> {
  const folders = [join(root, 'build', 'Release'), join(root, 'prebuilds', `${platform()}-${arch()}`)];
  const paths = folders.flatMap((folder) => listFiles(folder).map((file) => join(folder, file)));
  const addons = paths.filter((path) => path.endsWith('.node'));
  const found: Binary[] = [];
  for (const path of addons) found.push(binaryOf(path, 'addon', await probe(path)));
  const working = found.find(({ load }) => load.state === 'works')?.path;
  for (const kind of ['cuda', 'emulator'] as const)
    for (const path of paths.filter((candidate) => candidate.endsWith(`train_moe_${kind}.so`)))
      found.push(binaryOf(path, kind, working ? await probe(working, path) : noAddon));
  return found;
}

const noAddon: Load = { state: 'refused', reason: 'no addon works that could open it' };

function binaryOf(path: string, kind: Binary['kind'], load: Load): Binary {
  return { path, kind, bytes: statSync(path).size, load };
}

async function findGpus(): Promise<GpuFacts> {
  const query = ['--query-gpu=name,compute_cap,memory.total', '--format=csv,noheader,nounits'];
  const list = await promisify(execFile)('nvidia-smi', query, { timeout: 20_000 }).then(
    ({ stdout }) => ({ devices: gpusOf(stdout) }),
    (error: NodeJS.ErrnoException) => ({
      devices: [],
      listError: error.code === 'ENOENT' ? 'nvidia-smi is not installed' : error.message.split('\n')[0],
    }),
  );
  const driver = driverVersion(readText('/proc/driver/nvidia/version'));
  return { driver, libcuda: LIBCUDA.find((path) => existsSync(path)), ...list };
}

/** Where drivers put their library: Debian and Ubuntu, Red Hat, WSL, containers. */
const LIBCUDA = [
  ...(process.env.LD_LIBRARY_PATH?.split(':').filter(Boolean) ?? []),
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib64',
  '/usr/lib',
  '/usr/lib/wsl/lib',
  '/usr/local/nvidia/lib64',
].map((folder) => join(folder, 'libcuda.so.1'));

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // not Linux, or not allowed: the fact is unknown
  }
}

function listFiles(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
