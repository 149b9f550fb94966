import { TrainMoeError } from '../errors.js';
import { type ByteSource, openFile } from '../hub/byte_source.js';
import { addon } from '../native.js';

/**
 * Opens a file whose tensors are views of mapped memory: nothing is copied before it is used, and the pages are the
 * system's to drop. Small reads (the header) are positional. A tensor is mapped apart from the others and goes when its
 * view does, so that files may be larger than an ArrayBuffer.
 * @throws TrainMoeError `not-found` when the file cannot be opened, `bad-data` when it became shorter since.
 */
export function openMapped(path: string): ByteSource {
  const source = openFile(path);
  return {
    ...source,
    view(offset, length) {
      try {
        return new Uint8Array(addon.mapFile(path, offset, length));
      } catch (cause) {
        const wanted = `bytes ${offset} to ${offset + length} of ${path}, which had ${source.size} when it was opened`;
        throw new TrainMoeError('bad-data', `Cannot map ${wanted}: ${(cause as Error).message}.`, { cause });
      }
    },
  };
}
