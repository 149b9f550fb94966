import { readdirSync, readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { addon, packageRoot } from '../native.js';
import type { Device } from '../tensor/index.js';

/** What the rows were measured on; the first line of the output. */
export interface Environment {
  readonly device: string;
  /** The backend: cpu-avx2, cuda, ... */
  readonly backend: string;
  readonly node: string;
  readonly 'train-moe': string;
  readonly threads: number;
  /** Mean number of processes that wanted a core in the last minute. */
  readonly load: number;
  readonly cpu: string;
  readonly gpu?: string;
}

export function environmentOf(device: Device, threads: number): Environment {
  const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string };
  const gpu = device.kind === 'cuda' ? gpuName() : undefined;
  return {
    device: device.kind,
    backend: device.name,
    node: process.version,
    'train-moe': version,
    threads,
    load: Math.round(loadavg()[0]! * 100) / 100,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    ...(gpu && { gpu }),
  };
}

/** The first GPU's model, as the NVIDIA driver tells it. */
function gpuName(folder = '/proc/driver/nvidia/gpus'): string | undefined {
  try {
    const [first] = readdirSync(folder);
    const text = readFileSync(join(folder, first!, 'information'), 'utf8');
    return /^Model:\s*(.*)$/m.exec(text)?.[1]?.trim();
  } catch {
    return undefined;
  }
}

/** Threads that the CPU backend uses unless told otherwise. */
export const defaultThreads = (): number => addon.hostInfo().threads;
