import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { type Device, memoryOf } from './device.js';

/** Bytes that the device has in all: those of the machine, or what this process may use of them. */
export const roomOf = (device: Device): number =>
  memoryOf(device).ceiling || Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY);

/** The same with what the system may move to disk. Who takes more of a CPU's is ended by the system, without a word. */
export function roomWithSwap(device: Device): number {
  if (memoryOf(device).ceiling) return memoryOf(device).ceiling;
  const kilobytes = /^SwapTotal: *(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1];
  return roomOf(device) + 1024 * Number(kilobytes ?? Number.POSITIVE_INFINITY);
}
