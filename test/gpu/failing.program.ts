import * as native from '../../src/native.gen.js';
import { type DeviceKind, device, empty, from, synchronize, zeros } from '../../src/tensor/index.js';

/* Runs an op that fails on the device, and another behind it; then waits, and prints what is said. See sync.gpu.ts. */

const [kind, failure] = process.argv.slice(2);
const on = device(kind as DeviceKind);

/** An id that the table does not have: the kernel notices, writes zeros, and tells with the next wait. */
function badId(): void {
  const table = zeros([8, 16], { device: on });
  native.embeddingForward(empty([2, 16], { device: on }), table, from(Int32Array.of(3, 99), [2], { device: on }), 1);
}

/** A page of a cache, terabytes behind its end: nothing checks it, and the address is not mapped. */
function badPage(): void {
  const dtype = 'bf16';
  const cache = zeros([2, 32, 64], { device: on, dtype });
  const q = zeros([1, 4, 64], { device: on, dtype });
  const ints = (...values: number[]) => from(Int32Array.from(values), [values.length], { device: on });
  const pages = from(Int32Array.of(0x3fffffff), [1, 1], { device: on });
  native.mlaDecode(empty([1, 4, 32], { device: on, dtype }), q, cache, pages, ints(0), ints(32), 1);
}

try {
  if (failure === 'id') badId();
  else badPage();
  native.fill(zeros([64], { device: on }), 1);
  synchronize(on);
  process.stdout.write('nothing failed');
} catch (error) {
  process.stdout.write((error as Error).message);
}
process.exit(0); // a context that a kernel has broken cannot be left in order
