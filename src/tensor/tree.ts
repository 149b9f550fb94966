import { Tensor } from './tensor.js';

/** Nested arrays and plain objects with tensors as leaves: weights of a model, results of a function. */
export type Tree = Tensor | readonly Tree[] | { readonly [key: string]: Tree | undefined } | undefined;

/** All tensors reachable through arrays and plain objects, in order. */
export function tensorsIn(value: unknown): Tensor[] {
  const out: Tensor[] = [];
  visit(value, (tensor) => out.push(tensor));
  return out;
}

/** Every tensor with its path, object keys and indices joined by dots: the names of checkpoints. */
export function namedTensors(value: unknown, prefix = ''): [string, Tensor][] {
  const out: [string, Tensor][] = [];
  visit(value, (tensor, path) => out.push([path, tensor]), prefix);
  return out;
}

function visit(value: unknown, leaf: (tensor: Tensor, path: string) => void, path = ''): void {
  if (value instanceof Tensor) leaf(value, path);
  else if (Array.isArray(value))
    for (const [i, v] of value.entries()) visit(v, leaf, path ? `${path}.${i}` : String(i));
  else if (value && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype)
    for (const [key, v] of Object.entries(value)) visit(v, leaf, path ? `${path}.${key}` : key);
}
