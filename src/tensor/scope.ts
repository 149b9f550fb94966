import { TrainMoeError } from '../errors.js';
import { releaseNow, type Tensor } from './tensor.js';
import { tensorsIn } from './tree.js';

/**
 * Who releases tensors. V8's collector cannot see native memory, so every tensor made while an owner is active is on its
 * list: a scope releases them when it ends, a tape when the step that made them is unwound.
 */
export interface Owner {
  readonly made: Made;
}

/** Tensors in the order they were made. One that was taken off leaves a gap: a list is cheaper than a set, and made often. */
export type Made = (Tensor | undefined)[];

const owners: (Owner | undefined)[] = [];

/** @internal Puts a tensor on the list of whoever is active. Called by the Tensor constructor. */
export function adopt(tensor: Tensor): void {
  const made = owners[owners.length - 1]?.made;
  tensor.list = made;
  if (made) tensor.place = made.push(tensor) - 1;
}

/** @internal Takes a tensor off its list, so that nobody releases it. */
export function forget(tensor: Tensor): void {
  if (tensor.list) tensor.list[tensor.place] = undefined;
  tensor.list = undefined;
}

/** @internal Runs `body` with `owner` receiving every tensor it makes; undefined: nobody, they live until dispose(). */
export function owning<T>(owner: Owner | undefined, body: () => T): T {
  const depth = owners.length;
  owners.push(owner);
  try {
    return body();
  } finally {
    owners.length = depth;
  }
}

/**
 * Runs `body` and releases every tensor made in it, except those reachable from its result (arrays and plain objects are
 * searched), which pass to the scope around it.
 * @throws TrainMoeError `bad-argument` when body is asynchronous: its tensors would be released under its feet.
 */
export function scope<T>(body: () => T): T {
  const owner: Owner = { made: [] };
  let result: T | undefined;
  try {
    result = owning(owner, body);
    if (result instanceof Promise)
      throw new TrainMoeError('bad-argument', 'scope() was given an async function; await outside of the scope.');
    for (const tensor of tensorsIn(result))
      if (tensor.list === owner.made) {
        forget(tensor);
        adopt(tensor);
      }
    return result;
  } finally {
    releaseNow(owner.made);
  }
}

/** Makes tensors outlive every scope and tape: parameters, optimizer state, caches. Returns its argument. */
export function keep<T>(value: T): T {
  for (const tensor of tensorsIn(value)) forget(tensor);
  return value;
}

/** Runs `body`, whose tensors belong to nobody: they live until dispose(). Those made before it fails are released. */
export function permanent<T>(body: () => T): T {
  const owner: Owner = { made: [] };
  let result: T;
  try {
    result = owning(owner, body);
  } catch (error) {
    releaseNow(owner.made);
    throw error;
  }
  for (const tensor of owner.made) if (tensor) forget(tensor);
  return result;
}
