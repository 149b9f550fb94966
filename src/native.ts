import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ABI } from './abi.js';
import { TrainMoeError } from './errors.js';

/** What a native call needs to know of a tensor: its handle. Zero stands for "absent". */
export interface Tensor {
  readonly id: number;
}

/** An accumulator argument: dst = beta*dst + value; `id` 0 when the gradient is not wanted. */
export interface Acc {
  readonly id: number;
  readonly beta: 0 | 1;
}

/** Live and peak bytes of one tag. */
export interface TagUse {
  /** Bytes */
  readonly live: number;
  /** Bytes */
  readonly peak: number;
  /** Allocations */
  readonly blocks: number;
}

/** Memory of one backend, in bytes; `tensors` counts handles, views included. */
export interface MemoryUse {
  /** Bytes that tensors hold. */
  readonly live: number;
  /** Most bytes that tensors held since the peak was reset. */
  readonly peak: number;
  /** Bytes that are free but kept for the next tensors. */
  readonly cached: number;
  /** The limit that was set, else what the device has; 0 when it is the host's own memory. */
  readonly ceiling: number;
  /** Handles, views included. */
  readonly tensors: number;
  /** Uses by their names: weights, gradients, optimizer, activations, .. */
  readonly tags: Readonly<Record<string, TagUse>>;
}

/** What is known of a recorded graph. */
export interface GraphFacts {
  /** Native calls that it makes. */
  readonly calls: number;
  /** Memory that it keeps for itself. */
  readonly bytes: number;
  /** True once the device holds it as a whole; false: its calls are made one by one. */
  readonly onDevice: boolean;
}

/** The addon's own functions; the ops of the table are typed in native.gen.ts. */
export interface Addon {
  readonly abi: number;
  readonly ops: Readonly<Record<string, (...args: (number | boolean | Float64Array)[]) => void>>;
  create(backend: number, dtype: number, weight: number, ...shape: number[]): number;
  view(id: number, offset: number, rank: number, ...shapeThenStride: number[]): number;
  release(ids: Float64Array, count: number): void;
  write(id: number, data: ArrayBufferView): void;
  read(id: number, data: ArrayBufferView): void;
  beginRead(id: number): number;
  endRead(copy: number, into: ArrayBufferView): void;
  beginGraph(backend: number): number;
  endGraph(graph: number): void;
  launchGraph(graph: number): void;
  destroyGraph(graph: number): void;
  graphFacts(graph: number): GraphFacts;
  profiled(): boolean;
  pushRange(name: string): void;
  popRange(): void;
  setTag(name: string): string;
  memory(backend: number, resetPeak: boolean): MemoryUse;
  limitMemory(backend: number, bytes: number): void;
  trimMemory(backend: number): void;
  synchronize(backend: number): void;
  mapFile(path: string, offset: number, length: number): ArrayBuffer;
  beginTimer(backend: number): boolean;
  endTimer(backend: number): number;
  createSegment(ranks: number, slotBytes: number): number;
  closeSegment(descriptor: number): void;
  openRank(descriptor: number, rank: number, seconds: number): { number: number; size: number };
  closeRank(rank: number): void;
  allReduce(rank: number, ids: Float64Array, operation: string, what: string): void;
  reduceScatter(rank: number, ids: Float64Array, owners: Float64Array, operation: string, what: string): void;
  allGather(rank: number, ids: Float64Array, owners: Float64Array, what: string): void;
  barrier(rank: number, what: string, seconds: number): void;
  enterPlace(rank: number, place: string): void;
  failRank(rank: number, why: string): void;
  openCpu(isa?: string): { index: number; name: string; fastBf16: boolean };
  openLibrary(path: string): { index: number; name: string };
  hostInfo(): { features: string[]; isas: string[]; threads: number };
  setThreads(count: number): void;
  setErrorClass(errorClass: new (code: never, message: string) => Error): void;
  table(): { name: string; parameters: string; contract: string }[];
}

/** The package's root folder: where build/ and prebuilds/ are, both from src/ and from dist/. */
export const packageRoot = join(dirname(fileURLToPath(import.meta.url)), '..');

function load(): Addon {
  const addon = open();
  if (addon.abi !== ABI)
    throw new TrainMoeError(
      'no-device',
      `The native binary has ABI ${addon.abi}, this package's JavaScript ${ABI}: they are of different versions. ` +
        'Rebuild it: "npm rebuild train-moe" (in a checkout: npm run build). "train-moe doctor" names the file.',
    );
  addon.setErrorClass(TrainMoeError);
  return addon;
}

function open(): Addon {
  const require = createRequire(import.meta.url);
  try {
    return require('node-gyp-build')(packageRoot) as Addon;
  } catch (cause) {
    throw new TrainMoeError(
      'not-found',
      `No native binary of train-moe works on ${process.platform}-${process.arch} (${firstLine(cause)}). ` +
        'Prebuilt: linux-x64 with glibc; elsewhere run "npm rebuild train-moe" with cmake and g++ 12 installed. "train-moe doctor" says more.',
      { cause },
    );
  }
}

function firstLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split('\n')[0]!;
}

/** The loaded addon. Importing this module loads it; modules that must start fast import it lazily. */
export const addon: Addon = load();
