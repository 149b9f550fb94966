import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { ByteSink, FolderSink } from '../../hub/byte_sink.js';

export const MANIFEST_NAME = 'manifest.json';

/** Raised when a later version of this file could be misread by this code. */
const FORMAT = 1;

/** A stretch of a file with its CRC-32 in hexadecimal: a tensor, a header, or a whole text file. */
export type PartRecord = readonly [part: string, bytes: number, crc: string];

/**
 * What a checkpoint was made of, written into it last. Its parts cover every byte of every file, so a file that
 * differs anywhere is found, and the tensor that is hit can be named.
 */
export interface Manifest {
  readonly format: number;
  readonly step: number;
  readonly files: Readonly<Record<string, readonly PartRecord[]>>;
}

const hex = (crc: number) => crc.toString(16).padStart(8, '0');

/** Passes files on to `folder` and keeps the checksums of their parts in `files`. */
export function checksummedFolder(folder: FolderSink, files: Map<string, readonly PartRecord[]>): FolderSink {
  return {
    file(name, fill) {
      const parts: { part: string; bytes: number; crc: number }[] = [];
      const record = (bytes: Uint8Array, part: string) => {
        let last = parts.at(-1);
        if (last?.part !== part) {
          last = { part, bytes: 0, crc: 0 };
          parts.push(last);
        }
        last.bytes += bytes.byteLength;
        last.crc = crc32(bytes, last.crc);
      };
      folder.file(name, (sink: ByteSink) =>
        fill((bytes, part) => {
          record(bytes, part);
          sink(bytes, part);
        }),
      );
      files.set(
        name,
        parts.map(({ part, bytes, crc }) => [part, bytes, hex(crc)] as const),
      );
    },
  };
}

/** The manifest's text, with a checksum of its own as the last key. */
export function formatManifest(step: number, files: ReadonlyMap<string, readonly PartRecord[]>): string {
  return withChecksum({ format: FORMAT, step, files: Object.fromEntries(files) });
}

function withChecksum(manifest: Manifest): string {
  const { format, step, files } = manifest;
  const checksum = hex(crc32(JSON.stringify({ format, step, files })));
  return `${JSON.stringify({ format, step, files, checksum }, null, 1)}\n`;
}

/** A checkpoint's manifest, or the sentence that says what is wrong with it. */
export function readManifest(folder: string): Manifest | string {
  const path = join(folder, MANIFEST_NAME);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    return `${path} cannot be read (${(error as NodeJS.ErrnoException).code}): the checkpoint is not complete`;
  }
  try {
    const manifest = JSON.parse(text) as Manifest;
    if (withChecksum(manifest) === text) {
      return manifest.format === FORMAT ? manifest : `${path} was written by a newer version of train-moe`;
    }
  } catch {
    // Falls through: text that does not parse is damaged like text that does not match.
  }
  return `${path} does not match its own checksum`;
}

/** Whether all files are there with their sizes: cheap, and enough to know that a save was finished. */
export function findMissing(folder: string, manifest: Manifest): string | undefined {
  for (const [name, parts] of Object.entries(manifest.files)) {
    const path = join(folder, name);
    const size = statSync(path, { throwIfNoEntry: false })?.size;
    if (size === undefined) return `${path} is missing`;
    const wanted = parts.reduce((sum, [, bytes]) => sum + bytes, 0);
    if (size !== wanted) return `${path} is ${size} bytes long, but ${wanted} bytes were written`;
  }
  return undefined;
}

/** Reads every byte; returns the sentence that names the first damaged file and part. */
export function findDamage(folder: string, manifest: Manifest): string | undefined {
  const missing = findMissing(folder, manifest);
  if (missing !== undefined) return missing;
  const buffer = Buffer.allocUnsafe(1 << 22);
  for (const [name, parts] of Object.entries(manifest.files)) {
    const path = join(folder, name);
    try {
      const damage = damageOfFile(path, parts, buffer);
      if (damage !== undefined) return damage;
    } catch (error) {
      return `${path} cannot be read (${(error as NodeJS.ErrnoException).code})`;
    }
  }
  return undefined;
}

function damageOfFile(path: string, parts: readonly PartRecord[], buffer: Buffer): string | undefined {
  const descriptor = openSync(path, 'r');
  try {
    let offset = 0;
    for (const [part, bytes, wanted] of parts) {
      let crc = 0;
      for (const end = offset + bytes; offset < end; ) {
        const count = readSync(descriptor, buffer, 0, Math.min(buffer.length, end - offset), offset);
        if (count === 0) return `${path} ends at byte ${offset}, before its ${part} does`;
        crc = crc32(buffer.subarray(0, count), crc);
        offset += count;
      }
      if (hex(crc) !== wanted) {
        return `${path}: ${part} (bytes ${offset - bytes} to ${offset}) does not match its checksum`;
      }
    }
    return undefined;
  } finally {
    closeSync(descriptor);
  }
}
