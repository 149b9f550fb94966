import type { Gpu } from './facts.js';

/** Extensions that the CPU kernels look at, under the names of /proc/cpuinfo. */
const KERNEL_FEATURES = [
  'avx2',
  'fma',
  'f16c',
  'avx512f',
  'avx512bw',
  'avx512vl',
  'avx512dq',
  'avx512_bf16',
  'amx_tile',
  'amx_bf16',
];

/** The value of NAME="..." in /etc/os-release. */
export function osName(osRelease: string): string | undefined {
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(osRelease)?.[1];
}

/** Model and kernel-relevant features of the first processor in /proc/cpuinfo. */
export function cpuOf(cpuinfo: string): { readonly model?: string | undefined; readonly features: string[] } {
  const flags = new Set(/^flags\s*:\s*(.*)$/m.exec(cpuinfo)?.[1]?.split(/\s+/) ?? []);
  return {
    model: /^model name\s*:\s*(.*)$/m.exec(cpuinfo)?.[1]?.trim(),
    features: KERNEL_FEATURES.filter((name) => flags.has(name)),
  };
}

/** The driver's version in /proc/driver/nvidia/version, of the closed and of the open kernel module. */
export function driverVersion(text: string): string | undefined {
  return /NVRM version:.*?\s(\d+\.\d+(?:\.\d+)*)\s/.exec(text)?.[1];
}

/** GPUs in the output of `nvidia-smi --query-gpu=name,compute_cap,memory.total --format=csv,noheader,nounits`. */
export function gpusOf(csv: string): Gpu[] {
  return csv
    .split('\n')
    .map((line) => line.split(',').map((cell) => cell.trim()))
    .filter((cells) => cells.length === 3 && /^\d+\.\d+$/.test(cells[1]!))
    .map(([name, capability, mebibytes]) => ({
      name: name!,
      capability: capability!,
      memory: Number(mebibytes) * 2 ** 20 || 0,
    }));
}

/** "npm/10.8.2 node/v20 linux x64" -> "npm 10.8.2". */
export function packageManagerOf(userAgent: string | undefined): string | undefined {
  const [name, version] = userAgent?.split(' ')[0]?.split('/') ?? [];
  return name && version ? `${name} ${version}` : undefined;
}

/** The limit in a cgroup's memory.max, or undefined for "max" and for what is no number. */
export function memoryLimit(text: string): number | undefined {
  const bytes = Number(text.trim() || 'none');
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined;
}

/** Compares dotted versions number by number: negative when a is older than b. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number)) as [number[], number[]];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
