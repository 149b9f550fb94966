import { TrainMoeError } from '../errors.js';
import { type Cut, GradientState } from './gradient.js';
import { recording } from './tape.js';
import { type Shape, sizeOf, stridesOf, type Tensor, window } from './tensor.js';

/**
 * The same values seen with another shape, without a copy; one dimension may be -1. Gradients of the view are the
 * gradients of x.
 * @throws TrainMoeError `bad-argument` when the sizes differ or x's rows lie apart.
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const to = resolve(x, shape);
  if (!x.contiguous)
    throw new TrainMoeError('bad-argument', `reshape: the rows of [${x.shape}] lie apart; copy it first.`);
  const y = window(x, 0, to, stridesOf(to));
  y.gradient = x.gradient;
  return y;
}

function resolve(x: Tensor, shape: Shape): Shape {
  const known = sizeOf(shape.filter((d) => d !== -1));
  const to = shape.map((d) => (d === -1 ? x.size / known : d));
  if (sizeOf(to) !== x.size || !to.every(Number.isInteger))
    throw new TrainMoeError('bad-argument', `reshape: [${x.shape}] has ${x.size} values and cannot become [${shape}].`);
  return to;
}

/**
 * Cuts x along a dimension (default: the last) into consecutive windows that share its memory, and whose gradients are
 * written straight into x's gradient.
 * @throws TrainMoeError `bad-argument` when the sizes do not add up, or x is itself a window made by split().
 */
export function split(x: Tensor, sizes: readonly number[], dim = x.shape.length - 1): Tensor[] {
  const total = sizes.reduce((a, b) => a + b, 0);
  if (total !== x.shape[dim])
    throw new TrainMoeError(
      'bad-argument',
      `split: the sizes ${sizes.join(' + ')} do not add up to ${x.shape[dim]}, dimension ${dim} of [${x.shape}].`,
    );
  if (x.gradient?.isPart)
    throw new TrainMoeError('bad-argument', 'split: x is a window made by split() itself; cut the whole at once.');
  const parts: Tensor[] = [];
  const cut: Cut = [];
  let at = 0;
  for (const size of sizes) {
    const shape = x.shape.map((d, i) => (i === dim ? size : d));
    const offset = at * x.stride[dim]!;
    const part = window(x, offset, shape, x.stride);
    if (x.gradient && recording())
      part.gradient = new GradientState(part, false, { parent: x.gradient, cut, offset, shape, stride: x.stride });
    parts.push(part);
    at += size;
  }
  return parts;
}

/** Rows from..to of the first dimension, as a window on the same memory. */
export function rows(x: Tensor, start: number, end: number): Tensor {
  return split(x, [start, end - start, x.shape[0]! - end], 0)[1]!;
}

/**
 * x [A,B,..] seen as [B,A,..], a window that shares its memory, and whose gradient is written straight into x's.
 * @throws TrainMoeError `bad-argument` when x is a window made by split().
 */
export function exchanged(x: Tensor): Tensor {
  if (x.gradient?.isPart)
    throw new TrainMoeError('bad-argument', 'exchanged: x is a window made by split(); exchange before it is cut.');
  const swap = ([a, b, ...rest]: Shape): Shape => [b!, a!, ...rest];
  const [shape, stride] = [swap(x.shape), swap(x.stride)];
  const y = window(x, 0, shape, stride);
  if (x.gradient && recording())
    y.gradient = new GradientState(y, false, { parent: x.gradient, cut: [], offset: 0, shape, stride });
  return y;
}

/** x with a dimension of size 1 inserted before `dim`; rows of x may lie apart. */
export function insertDimension(x: Tensor, dim: number): Tensor {
  const shape = x.shape.toSpliced(dim, 0, 1);
  const stride = x.stride.toSpliced(dim, 0, dim < x.stride.length ? x.stride[dim]! * x.shape[dim]! : 1);
  const y = window(x, 0, shape, stride);
  y.gradient = x.gradient;
  return y;
}
