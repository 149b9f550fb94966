import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { SourceFile } from '../collect/files.js';
import { byCodeUnit } from '../collect/glob.js';

/** Files up to this size are known by their content, so that a fresh checkout or a `touch` changes nothing. */
const CONTENT_FILE_BYTES = 4 << 20;
/** No more than this is read only to name the cache; larger files and later ones are known by size and time. */
const CONTENT_TOTAL_BYTES = 256 << 20;

/** Hash of the files' identities and of everything else that decides the tokens: the name of the cache folder. */
export function cacheKey(files: readonly SourceFile[], settings: Readonly<Record<string, unknown>>): string {
  const hash = createHash('sha256');
  const names = Object.keys(settings).sort(byCodeUnit);
  hash.update(JSON.stringify(names.map((name) => [name, settings[name]])));
  let budget = CONTENT_TOTAL_BYTES;
  for (const file of files) {
    hash.update(JSON.stringify([file.path, file.format, file.gzip, file.size]));
    const content = file.size <= CONTENT_FILE_BYTES && file.size <= budget ? contentOf(file.path) : undefined;
    if (content === undefined) hash.update(`time ${file.mtimeMs}`);
    else {
      budget -= file.size;
      hash.update(createHash('sha256').update(content).digest());
    }
  }
  return hash.digest('hex').slice(0, 32);
}

/** A file that cannot be read is told about when its turn comes in the collection. */
function contentOf(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}
