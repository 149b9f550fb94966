import { TrainMoeError } from '../errors.js';
import { addon } from '../native.js';

/**
 * Names of what the code is at, such as "layer 3/attend". `nsys profile -t cuda,nvtx` shows them as nested ranges around the ops,
 * and ops by their own names inside them; a tensor that finds no room is told with them.
 */

const listening = addon.profiled();
let current = '';

/** Runs `body` under a name, inside the names that are active. */
export const named = <T>(name: string, body: () => T): T => at(current ? `${current}/${name}` : name, name, body);

/** @internal Where the code is, as "layer 3/attend". */
export const place = (): string => current;

/** @internal Runs `back`, which goes back through the op `name` that ran at `where`. */
export function namedBack(where: string, name: string, back: () => void): void {
  const full = `${where ? `${where}/` : ''}${name} backward`;
  at(full, full, back);
}

/** @internal The error of a tensor that could not be made, with the names that are active in front when there was no room. */
export function placed(error: unknown): unknown {
  if (!current || !(error instanceof TrainMoeError) || error.code !== 'out-of-memory') return error;
  return new TrainMoeError(error.code, `${current}: ${error.message}`, { cause: error });
}

function at<T>(where: string, range: string, body: () => T): T {
  const before = current;
  current = where;
  if (listening) addon.pushRange(range);
  try {
    return body();
  } finally {
    if (listening) addon.popRange();
    current = before;
  }
}
