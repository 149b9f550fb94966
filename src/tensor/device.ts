import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { TrainMoeError } from '../errors.js';
import { addon, type MemoryUse, packageRoot } from '../native.js';

/** Where tensors live and ops run. One object per backend; compare by identity. */
export interface Device {
  /** Its number in native calls. */
  readonly index: number;
  /** "cpu-avx2", "cuda", "emulator", ... */
  readonly name: string;
  readonly kind: DeviceKind;
  /** Multiplies bf16 faster than f32: every GPU, and CPUs with AMX or AVX-512 BF16. */
  readonly fastBf16: boolean;
}

/** Kinds of devices; the emulator runs the CUDA kernels on the CPU, for tests. */
export type DeviceKind = 'cpu' | 'cuda' | 'emulator';

const opened = new Map<string, Device>();

/**
 * The device of that kind, opened at the first call. The CPU backend uses the best instruction set, or TRAIN_MOE_ISA.
 * @throws TrainMoeError `no-device` with the reason when it cannot be used here.
 */
export function device(kind: DeviceKind): Device {
  const isa = process.env.TRAIN_MOE_ISA ?? '';
  const key = kind === 'cpu' ? `cpu ${isa}` : kind;
  let found = opened.get(key);
  if (!found) {
    found = { ...(kind === 'cpu' ? addon.openCpu(isa || undefined) : openLibrary(kind)), kind };
    opened.set(key, found);
  }
  return found;
}

function openLibrary(kind: DeviceKind): Omit<Device, 'kind'> {
  const file = `train_moe_${kind}.so`;
  const path = [join(packageRoot, 'build', 'Release', file), join(packageRoot, 'prebuilds', 'linux-x64', file)].find(
    existsSync,
  );
  if (!path)
    throw new TrainMoeError(
      'no-device',
      `${kind} is not available: ${file} is not installed. Build it with "npm run build:${kind}" in ${packageRoot}.`,
    );
  return { ...addon.openLibrary(path), fastBf16: kind === 'cuda' };
}

/**
 * The device a user asked for: "cpu", "cuda", "emulator" fail hard; "auto" takes CUDA when it works, else the CPU, and
 * says why in `reason`. Without an argument: TRAIN_MOE_DEVICE, else "auto".
 */
export function chooseDevice(wanted: string = process.env.TRAIN_MOE_DEVICE ?? 'auto'): {
  device: Device;
  reason?: string;
} {
  if (wanted === 'cpu' || wanted === 'cuda' || wanted === 'emulator') return { device: device(wanted) };
  if (wanted !== 'auto')
    throw new TrainMoeError('bad-argument', `The device "${wanted}" is unknown; use auto, cpu, cuda or emulator.`);
  // A machine without a driver needs no advice on how to build the CUDA library.
  if (!hasDriver()) return { device: device('cpu'), reason: 'CUDA not used: this machine has no NVIDIA driver.' };
  try {
    return { device: device('cuda') };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { device: device('cpu'), reason: `CUDA not used: ${why}` };
  }
}

/** The NVIDIA kernel driver, or that of Windows under WSL. */
const hasDriver = (): boolean => ['/proc/driver/nvidia/version', '/dev/nvidiactl', '/dev/dxg'].some(existsSync);

/** Bytes in use on a device by tag; with `resetPeak` the peaks start anew. */
export function memoryOf(on: Device, resetPeak = false): MemoryUse {
  return addon.memory(on.index, resetPeak);
}

/** Waits until everything that was started on the device is done. */
export function synchronize(on: Device): void {
  addon.synchronize(on.index);
}

/** The device's own clock: seconds from one place among its work to another, waits included, launches not. CPUs have none. */
export function deviceClock(on: Device): { begin(): void; end(): number } | undefined {
  if (on.kind === 'cpu') return undefined;
  return { begin: () => void addon.beginTimer(on.index), end: () => addon.endTimer(on.index) };
}

/** Names what is allocated while `body` runs, for memory reports. */
export function tagged<T>(tag: string, body: () => T): T {
  const before = addon.setTag(tag);
  try {
    return body();
  } finally {
    addon.setTag(before);
  }
}
