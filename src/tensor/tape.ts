import { TrainMoeError } from '../errors.js';
import * as native from '../native.gen.js';
import type { Acc } from '../native.js';
import { GradientState } from './gradient.js';
import { namedBack, place } from './named.js';
import { adopt, forget, type Made, type Owner, owning, scope } from './scope.js';
import { releaseNow, Tensor } from './tensor.js';
import { tensorsIn } from './tree.js';

/** How to go back through one op, and the tensors that die once that is done. A root has no outputs and always runs. */
interface Step {
  readonly name: string;
  /** Where in the model it ran, as "layer 3/attend". */
  readonly where: string;
  readonly outputs: readonly Tensor[];
  readonly back: (...dy: (Tensor | undefined)[]) => void;
  readonly made: Made;
}

/** Steps in the order they ran, which is a topological order; the open list collects tensors of the op being run. */
interface Tape extends Owner {
  readonly steps: Step[];
  made: Made;
}

let tape: Tape | undefined;

/** True while ops are being recorded. */
export const recording = (): boolean => tape !== undefined;

const ABSENT: Acc = { id: 0, beta: 0 };

/** The accumulator of x's gradient for a native backward call; absent when no gradient flows to x. */
export function grad(x: Tensor | undefined): Acc {
  return x?.gradient ? x.gradient.accumulate(x.shape) : ABSENT;
}

/** The gradient that has arrived at x, or undefined. */
export function gradientOf(x: Tensor): Tensor | undefined {
  return x.gradient?.value(x.shape);
}

/** The gradient that has arrived at x, for an op that changes it in place: never a buffer that somebody else reads. */
export function gradientInPlace(x: Tensor): Tensor | undefined {
  return x.gradient?.exclusive(x.shape);
}

/** Passes dy, which must not be changed afterwards, on to x; without a copy when x has no gradient yet. */
export function passGradient(x: Tensor, dy: Tensor, from: Tensor): void {
  x.gradient?.share(dy, dy === from.gradient?.value(dy.shape) ? from.gradient : undefined);
}

/**
 * Says how to go back through an op that has just run. Without a tape, or when no input requires a gradient, it does
 * nothing. `back` gets the gradient of each output (undefined where none arrived; not called when none did at all).
 * An op that works in place returns its own input as output.
 */
export function record<Y extends Tensor | readonly Tensor[]>(
  name: string,
  inputs: readonly (Tensor | undefined)[],
  y: Y,
  back: Y extends Tensor ? (dy: Tensor) => void : (...dy: (Tensor | undefined)[]) => void,
): Y {
  if (!tape || !inputs.some((x) => x?.requiresGrad)) return y;
  const outputs: readonly Tensor[] = y instanceof Tensor ? [y] : (y as readonly Tensor[]);
  for (const output of outputs) output.gradient ??= new GradientState(output, false);
  tape.steps.push({ name, where: place(), outputs, back: back as Step['back'], made: tape.made });
  tape.made = [];
  return y;
}

/**
 * Records a root: an op whose result already is a loss with gradient 1, because it found its inputs' gradients on the way
 * forward. `back` hands them on, unconditionally.
 */
export function recordRoot(name: string, inputs: readonly Tensor[], back: () => void): void {
  if (!tape || !inputs.some((x) => x.requiresGrad)) return;
  tape.steps.push({ name, where: place(), outputs: [], back, made: tape.made });
  tape.made = [];
}

/**
 * Runs `forward`, which returns scalar losses, then goes back from their sum (each has gradient 1). Gradients accumulate
 * in the leaves (parameter()); everything else that was made dies, except the tensors in what `forward` returned.
 * @throws TrainMoeError `bad-argument` when a loss is not a scalar, or inside another differentiate().
 */
export function differentiate<T extends { readonly losses: readonly Tensor[] }>(forward: () => T): T {
  return pullBack(forward, ({ losses }) => {
    for (const loss of losses) {
      if (loss.size !== 1)
        throw new TrainMoeError('bad-argument', `A loss has the shape [${loss.shape}]; one value is expected.`);
      if (loss.gradient && !loss.gradient.leaf) native.fill({ id: grad(loss).id }, 1);
    }
  });
}

/**
 * As differentiate(), with the gradients of any outputs given: the vector-Jacobian product.
 * `dys[i]` has the shape of `forward()[i]`.
 */
export function vectorJacobian<T extends readonly Tensor[]>(forward: () => T, dys: readonly Tensor[]): T {
  return pullBack(forward, (outputs) => {
    outputs.forEach((y, i) => {
      if (y.gradient) native.axpy(grad(y), dys[i]!, 1);
    });
  });
}

function pullBack<T>(forward: () => T, seed: (result: T) => void): T {
  if (tape) throw new TrainMoeError('bad-argument', 'differentiate() was called while another tape is recording.');
  const mine: Tape = { steps: [], made: [] };
  try {
    const result = recordOn(mine, forward);
    scope(() => seed(result));
    unwind(mine, new Set(tensorsIn(result)));
    return result;
  } finally {
    abandon(mine);
  }
}

function recordOn<T>(mine: Tape, forward: () => T): T {
  const outer = tape;
  tape = mine;
  try {
    return owning(
      {
        get made() {
          return mine.made;
        },
      },
      forward,
    );
  } finally {
    tape = outer;
  }
}

/** Goes back through the steps, last first, releasing each step's tensors and gradients when it is done. */
function unwind(mine: Tape, keepAlive: ReadonlySet<Tensor>): void {
  release(mine.made, keepAlive);
  mine.made = [];
  for (let step = mine.steps.pop(); step; step = mine.steps.pop()) {
    const current = step;
    try {
      if (current.outputs.length === 0 || current.outputs.some((y) => y.gradient?.present))
        namedBack(current.where, current.name, () => scope(() => current.back(...current.outputs.map(gradientOf))));
    } finally {
      release(current.made, keepAlive);
    }
  }
}

function release(made: Made, keepAlive: ReadonlySet<Tensor>): void {
  for (const tensor of made) {
    if (!tensor) continue;
    if (tensor.gradient?.of === tensor && !tensor.gradient.leaf) tensor.gradient.release();
    if (keepAlive.has(tensor)) {
      tensor.gradient = undefined;
      forget(tensor);
      adopt(tensor);
    }
  }
  releaseNow(made);
}

/** After an error: everything the tape still holds is released. */
function abandon(mine: Tape): void {
  const none = new Set<Tensor>();
  for (let step = mine.steps.pop(); step; step = mine.steps.pop()) release(step.made, none);
  if (mine.made.length > 0) release(mine.made, none);
}

/** Runs `body` without recording; what it makes dies with it, except its result. */
export function noGrad<T>(body: () => T): T {
  const outer = tape;
  tape = undefined;
  try {
    return scope(body);
  } finally {
    tape = outer;
  }
}

/**
 * Recompute instead of remember: runs `body(inputs)` without saving its activations, and runs it again when the tape
 * comes back to it. `body` must depend on nothing but its inputs and parameters (dropout takes explicit seeds).
 * Chen et al., arXiv:1604.06174.
 */
export function checkpoint<X extends readonly Tensor[], Y extends readonly Tensor[]>(
  inputs: X,
  body: (...x: X) => Y,
): Y {
  if (!tape) return body(...inputs);
  const outputs = noGrad(() => body(...inputs));
  // Parameters inside body may need gradients even when no input does, so the outputs stand for both.
  for (const output of outputs) output.gradient ??= new GradientState(output, false);
  return record('checkpoint', outputs, outputs as readonly Tensor[], (...dy) =>
    again(inputs, body, dy),
  ) as unknown as Y;
}

function again<X extends readonly Tensor[], Y extends readonly Tensor[]>(
  inputs: X,
  body: (...x: X) => Y,
  dy: readonly (Tensor | undefined)[],
): void {
  const inner: Tape = { steps: [], made: [] };
  try {
    const outputs = recordOn(inner, () => body(...inputs));
    outputs.forEach((y, i) => {
      const d = dy[i];
      if (d) y.gradient?.share(d, undefined);
    });
    unwind(inner, new Set());
  } finally {
    abandon(inner);
  }
}
