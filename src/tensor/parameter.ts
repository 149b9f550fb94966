import { GradientState } from './gradient.js';
import { keep } from './scope.js';
import type { Tensor } from './tensor.js';

/**
 * Makes a tensor a leaf that gradients accumulate in (in f32) and that outlives every scope.
 */
export function parameter(tensor: Tensor): Tensor {
  tensor.gradient ??= new GradientState(tensor, true);
  return keep(tensor);
}

/** The gradient a parameter has collected, or undefined when none arrived since the last reset. */
export function gradientOfParameter(tensor: Tensor): Tensor | undefined {
  return tensor.gradient?.value(tensor.shape);
}

/** Starts gradients over: the next backward pass writes instead of adding. */
export function resetGradients(parameters: Iterable<Tensor>): void {
  for (const p of parameters) p.gradient?.reset();
}
