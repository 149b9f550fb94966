import { addon } from '../native.js';

/**
 * Names for profilers: `nsys profile -t cuda,nvtx` shows them as nested ranges around the ops, and ops by their own names inside
 * them. Without a profiler nothing happens.
 */

const listening = addon.profiled();
const path: string[] = [];

/** Runs `body` under a name, inside the names that are active. */
export function named<T>(name: string, body: () => T): T {
  if (!listening) return body();
  path.push(name);
  try {
    return inRange(name, body);
  } finally {
    path.pop();
  }
}

/** @internal Where the code is, as "layer 3/attend"; undefined when nobody listens. */
export const place = (): string | undefined => (listening ? path.join('/') : undefined);

/** @internal Runs `back`, which goes back through the op `name` that ran at `where`. */
export function namedBack(where: string | undefined, name: string, back: () => void): void {
  if (where === undefined) back();
  else inRange(`${where ? `${where}/` : ''}${name} backward`, back);
}

function inRange<T>(name: string, body: () => T): T {
  addon.pushRange(name);
  try {
    return body();
  } finally {
    addon.popRange();
  }
}
