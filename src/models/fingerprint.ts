import { createHash } from 'node:crypto';
import { formatConfig } from '../hub/config_json.js';
import { openModelFolder } from '../hub/folder.js';
import { openMapped } from './mapped_file.js';

/** Bytes that are looked at in three places of a tensor: training moves every weight, so a few tell two models apart. */
const PROBE = 64;

/**
 * Names a model by what it is, wherever its folder lies: a hash of its config.json and, for every tensor, of its name, type,
 * shape and a few of its bytes at the start, in the middle and at the end. Reads little of a large model.
 * @throws TrainMoeError `not-found` or `bad-data` with the file's name
 */
export function modelFingerprint(path: string): string {
  const { config, tensors, close } = openModelFolder(path, openMapped);
  try {
    const hash = createHash('sha256').update(config ? formatConfig(config) : '');
    for (const name of [...tensors.names()].sort()) {
      const { dtype, shape } = tensors.info(name);
      hash.update(JSON.stringify([name, dtype, shape]));
      const bytes = tensors.raw(name);
      const last = Math.max(0, bytes.length - PROBE);
      for (const at of [0, Math.floor(last / 2), last]) hash.update(bytes.subarray(at, at + PROBE));
    }
    return hash.digest('hex').slice(0, 16);
  } finally {
    close();
  }
}
