import { TrainMoeError } from '../../src/errors.js';
import type { ByteSink, FolderSink } from '../../src/hub/byte_sink.js';
import type { ByteSource } from '../../src/hub/byte_source.js';

/** A file that exists only in memory, and counts what is read from it. */
export function memorySource(bytes: Uint8Array): ByteSource & { readBytes: number } {
  const source = {
    path: 'memory.safetensors',
    size: bytes.length,
    readBytes: 0,
    read(offset: number, into: Uint8Array) {
      if (offset + into.length > bytes.length) throw new RangeError('read past the end');
      source.readBytes += into.length;
      into.set(bytes.subarray(offset, offset + into.length));
    },
    close() {},
  };
  return source;
}

/** Collects what a writer produces. */
export function collect(write: (sink: ByteSink) => void): Buffer {
  const pieces: Uint8Array[] = [];
  write((bytes) => pieces.push(bytes.slice()));
  return Buffer.concat(pieces);
}

export function memoryFolder(): FolderSink & { readonly files: Map<string, Buffer> } {
  const files = new Map<string, Buffer>();
  return { files, file: (name, fill) => void files.set(name, collect(fill)) };
}

/** The error that `action` throws, which must be one of ours. */
export function thrown(action: () => unknown): TrainMoeError {
  try {
    action();
  } catch (error) {
    if (error instanceof TrainMoeError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
