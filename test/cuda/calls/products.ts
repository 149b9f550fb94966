import * as native from '../../../src/native.gen.js';
import type { Tensor } from '../../../src/tensor/index.js';
import { window } from '../../../src/tensor/tensor.js';
import { added, type Bench, type Call, fresh, nobody } from './bench.js';

/* Products: dense, of f32 weights, of experts; by every kernel that there is. */

/** By the portable kernels, whichever GPU it is. */
function productCall(rows: number, depth: number, cols: number): Call {
  return {
    name: `linear: [${rows},${depth}] x [${cols},${depth}]`,
    tolerance: 2e-2,
    run: (b) => {
      const [x, weight, dy] = [b.draw([rows, depth], 1), b.draw([cols, depth], 2), b.draw([rows, cols], 3)];
      const [y, dx] = [b.out([rows, cols], 'f32'), b.out([rows, depth])];
      const [dweight, dbias] = [b.draw([cols, depth], 4, { dtype: 'f32' }), b.out([cols], 'f32')];
      by('portable', () => {
        native.linearForward(y, x, weight, undefined);
        native.linearBackward(fresh(dx), added(dweight), fresh(dbias), dy, x, weight);
      });
      return [y, dx, dweight, dbias];
    },
  };
}

/** A product of f32 weights, as a router's, and its gradients; then the same by parts of the rows, whose bits must not differ. */
function routerCall(rows: number, depth: number, cols: number): Call {
  return {
    name: `linear by f32 units: [${rows},${depth}] x [${cols},${depth}]`,
    run: (b) => {
      const [x, weight] = [b.draw([rows, depth], 1), b.draw([cols, depth], 2, { dtype: 'f32' })];
      const dy = b.draw([rows, cols], 3, { dtype: 'f32' });
      const product = (count: number) => {
        const y = b.out([rows, cols], 'f32');
        const part = (t: Tensor, r: number) =>
          window(t, r * t.shape[1]!, [Math.min(count, rows - r), t.shape[1]!], t.stride);
        for (let r = 0; r < rows; r += count) native.linearForward(part(y, r), part(x, r), weight, undefined);
        return y;
      };
      const [y, dx, dweight] = [product(rows), b.draw([rows, depth], 4), b.out([cols, depth], 'f32')];
      native.linearBackward(added(dx), fresh(dweight), nobody, dy, x, weight);
      return [y, dx, dweight, ...differences(b, [product(5), y], [product(70), y])];
    },
  };
}

/** Where each expert's rows begin, and the last ones end. */
function offsetsOf(counts: readonly number[]): number[] {
  const offsets = [0];
  for (const n of counts) offsets.push(offsets.at(-1)! + n);
  return offsets;
}

/** By the portable kernels, whichever GPU it is. */
function expertsCall(counts: readonly number[], tokens: number, inner: number, outer: number, spare: number): Call {
  const offsets = offsetsOf(counts);
  const rows = offsets.at(-1)! + spare;
  return {
    name: `grouped_linear: ${counts.join('+')} rows and ${spare} of nobody`,
    tolerance: 2e-2,
    run: (b) => {
      const x = b.draw([tokens, inner], 1);
      const weight = b.draw([counts.length, outer, inner], 2);
      const [at, gather] = [b.ints([offsets.length], (i) => offsets[i]!), b.ints([rows], (i) => (i * 13) % tokens)];
      const dy = b.draw([rows, outer], 3);
      const [y, dx] = [b.out([rows, outer]), b.out([rows, inner])];
      const dweight = b.out(weight.shape, 'f32');
      by('portable', () => {
        native.groupedLinearForward(y, x, weight, at, gather);
        native.groupedLinearBackward(fresh(dx), fresh(dweight), dy, x, weight, at, gather);
      });
      return [y, dx, dweight];
    },
  };
}

/** Runs `body` with the kernels of products that TRAIN_MOE_GEMM names; the CPU does not ask. */
export function by<T>(kernel: string, body: () => T): T {
  process.env.TRAIN_MOE_GEMM = kernel;
  try {
    return body();
  } finally {
    delete process.env.TRAIN_MOE_GEMM;
  }
}

/** The dense products of a linear layer by another kernel than the usual one. */
function productBy(kernel: string, rows: number, depth: number, cols: number): Call {
  return {
    name: `linear by ${kernel}: [${rows},${depth}] x [${cols},${depth}]`,
    dtypes: ['bf16'],
    run: (b) => {
      const [x, weight, bias] = [b.draw([rows, depth], 1), b.draw([cols, depth], 2), b.draw([cols], 3)];
      const [y, narrow, biased] = [b.out([rows, cols], 'f32'), b.out([rows, cols]), b.out([rows, cols])];
      const [dx, more] = [b.out([rows, depth]), b.draw([rows, depth], 4)];
      const [dweight, sums] = [b.out([cols, depth], 'f32'), b.draw([cols, depth], 5, { dtype: 'f32' })];
      const dy = b.draw([rows, cols], 6);
      by(kernel, () => {
        native.linearForward(y, x, weight, bias);
        native.linearForward(narrow, x, weight, undefined);
        native.linearForward(biased, x, weight, bias);
        native.linearBackward(fresh(dx), fresh(dweight), nobody, dy, x, weight);
        native.linearBackward(added(more), added(sums), nobody, dy, x, weight);
      });
      return [y, narrow, biased, dx, dweight, more, sums];
    },
  };
}

/** Weight gradients of many rows and few tiles, which are summed in pieces. */
function piecesBy(kernel: string, rows: number, inner: number, outer: number): Call {
  return {
    name: `weight gradient in pieces by ${kernel}: [${rows},${inner}] and [${rows},${outer}]`,
    dtypes: ['bf16'],
    run: (b) => {
      const [x, weight, dy] = [b.draw([rows, inner], 1), b.draw([outer, inner], 2), b.draw([rows, outer], 3)];
      const [dw, sums] = [b.out([outer, inner], 'f32'), b.draw([outer, inner], 4, { dtype: 'f32' })];
      by(kernel, () => {
        native.linearBackward(nobody, fresh(dw), nobody, dy, x, weight);
        native.linearBackward(nobody, added(sums), nobody, dy, x, weight);
      });
      return [dw, sums];
    },
  };
}

/** Experts' rows, in order or looked up, by Hopper's kernel. */
function expertsByHopper(
  counts: readonly number[],
  inner: number,
  outer: number,
  spare: number,
  gather: boolean,
): Call {
  const offsets = offsetsOf(counts);
  const rows = offsets.at(-1)! + spare;
  return {
    name: `grouped_linear by hopper: ${counts.join('+')} rows ${gather ? 'looked up ' : ''}and ${spare} of nobody`,
    dtypes: ['bf16'],
    tolerance: 2e-2,
    run: (b) => {
      const [x, weight] = [b.draw([rows, inner], 1), b.draw([counts.length, outer, inner], 2)];
      const [y, dx] = [b.out([rows, outer]), b.out([rows, inner])];
      const [dweight, dy] = [b.out(weight.shape, 'f32'), b.draw([rows, outer], 3)];
      const at = b.ints([offsets.length], (i) => offsets[i]!);
      const from = gather ? b.ints([rows], (i) => (i * 13 + 5) % rows) : undefined;
      by('hopper', () => {
        native.groupedLinearForward(y, x, weight, at, from);
        native.groupedLinearBackward(fresh(dx), fresh(dweight), dy, x, weight, at, from);
      });
      return [y, dx, dweight];
    },
  };
}

/** Gate and up with their SwiGLU by one kernel of products, and how far that is from the two ops: nothing. */
function gated(
  b: Bench,
  rows: number,
  cols: number,
  fused: (y: Tensor, gateUp: Tensor) => void,
  plain: (gateUp: Tensor) => void,
): readonly Tensor[] {
  const [y, apart] = [b.out([rows, cols]), b.out([rows, cols])];
  const [gateUp, product] = [b.out([rows, 2 * cols]), b.out([rows, 2 * cols])];
  fused(y, gateUp);
  plain(product);
  native.swigluForward(apart, product);
  return [y, gateUp, ...differences(b, [y, apart], [gateUp, product])];
}

function gatedBy(kernel: string, rows: number, depth: number, cols: number): Call {
  return {
    name: `linear_swiglu by ${kernel}: [${rows},${depth}] x 2 of [${cols},${depth}]`,
    tolerance: 2e-2,
    run: (b) => {
      const [x, weight] = [b.draw([rows, depth], 1), b.draw([2 * cols, depth], 2, { scale: depth ** -0.5 })];
      const fused = (y: Tensor, gateUp: Tensor) => native.linearSwiglu(y, gateUp, x, weight);
      const plain = (gateUp: Tensor) => native.linearForward(gateUp, x, weight, undefined);
      return by(kernel, () => gated(b, rows, cols, fused, plain));
    },
  };
}

/** The same for the rows of experts, looked up. */
function expertsGatedBy(kernel: string, counts: readonly number[], inner: number, cols: number, spare: number): Call {
  const offsets = offsetsOf(counts);
  const rows = offsets.at(-1)! + spare;
  return {
    name: `grouped_linear_swiglu by ${kernel}: ${counts.join('+')} rows and ${spare} of nobody, 2 of ${cols}`,
    tolerance: 2e-2,
    run: (b) => {
      const x = b.draw([rows, inner], 1);
      const weight = b.draw([counts.length, 2 * cols, inner], 2, { scale: inner ** -0.5 });
      const [at, from] = [b.ints([offsets.length], (i) => offsets[i]!), b.ints([rows], (i) => (i * 13 + 5) % rows)];
      const fused = (y: Tensor, gateUp: Tensor) => native.groupedLinearSwiglu(y, gateUp, x, weight, at, from);
      const plain = (gateUp: Tensor) => native.groupedLinearForward(gateUp, x, weight, at, from);
      return by(kernel, () => gated(b, rows, cols, fused, plain));
    },
  };
}

/** What the tensors of each pair differ by, so much enlarged that a call with another bit fails. */
const differences = (b: Bench, ...pairs: readonly (readonly [Tensor, Tensor])[]): Tensor[] =>
  pairs.map(([one, other]) => {
    const [left, difference] = [b.out(one.shape, 'f32'), b.out(one.shape, 'f32')];
    native.axpy(fresh(left), one, 1);
    native.axpy(added(left), other, -1);
    native.axpy(fresh(difference), left, 1e6);
    return difference;
  });

export const productCalls: readonly Call[] = [
  productCall(200, 96, 300),
  productCall(5, 40, 24),
  productCall(67, 33, 35),
  routerCall(256, 72, 250),
  routerCall(250, 136, 60),
  routerCall(20, 300, 30),
  routerCall(130, 33, 67),
  productBy('hopper', 200, 168, 152),
  productBy('hopper', 70, 400, 131),
  productBy('hopper', 700, 136, 400),
  piecesBy('hopper', 6400, 40, 24),
  piecesBy('portable', 6200, 20, 13),
  expertsByHopper([0, 140, 1, 0, 37], 72, 56, 5, false),
  expertsByHopper([3, 0, 131, 20], 392, 40, 4, true),
  expertsByHopper([200, 0, 310, 129], 264, 200, 3, true),
  gatedBy('portable', 200, 96, 152),
  gatedBy('portable', 9, 40, 35),
  gatedBy('hopper', 130, 72, 40),
  expertsGatedBy('portable', [0, 70, 1, 0, 130, 5], 48, 72, 9),
  expertsGatedBy('portable', [3, 0, 2], 9, 11, 1),
  expertsGatedBy('hopper', [3, 0, 131], 72, 24, 4),
  expertsCall([0, 70, 1, 0, 130, 5], 90, 48, 72, 9),
  expertsCall([3, 0, 2], 7, 9, 11, 0),
  expertsCall(
    Array.from({ length: 40 }, (_, e) => (e * 7) % 5),
    60,
    16,
    24,
    3,
  ),
];
