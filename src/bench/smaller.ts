import { TrainMoeError } from '../errors.js';
import { countParameters } from '../nn/param.js';
import { type CaseName, shapesOf } from './cases.js';
import { configOf, modelShape } from './model.js';
import type { BenchOptions } from './options.js';
import { type ModelName, models, ownShapes, sharedShapes } from './shapes.js';

/**
 * What a case that did not fit says beside the reason: options with which the same job takes less memory. A shape is given and
 * cannot be cut, so these are other shapes, and one type of whole models.
 */
export function withSmaller(
  error: unknown,
  { job, shape }: CaseName,
  { dtype, device }: Pick<BenchOptions, 'dtype' | 'device'>,
): unknown {
  if (!(error instanceof TrainMoeError) || error.code !== 'out-of-memory') return error;
  const size = sizeOf(shape);
  const smaller = [sharedShapes, ownShapes]
    .flatMap((lists) => shapesOf(lists, job, device === 'cpu' ? 'cpu' : 'cuda'))
    .filter((other) => sizeOf(other) < size)
    .sort((a, b) => sizeOf(b) - sizeOf(a))
    .map(({ name }) => `--shape '^${name}$'`);
  const narrower = 'model' in shape && dtype !== 'bf16' ? ['--dtype bf16'] : [];
  const options = [...narrower, ...smaller].slice(0, 2);
  const sentence = `Less memory take: ${[...options, '--smoke, which measures nothing'].join('; ')}.`;
  return new TrainMoeError('out-of-memory', `${error.message} ${sentence}`, { cause: error });
}

/** A number that grows with a shape: its sizes multiplied, the parameters of its model among them. */
function sizeOf(shape: object): number {
  return Object.entries(shape).reduce((product, [key, value]) => {
    if (key === 'model' && typeof value === 'string' && value in models)
      return product * parametersOf(value as ModelName);
    return typeof value === 'number' ? product * value : product;
  }, 1);
}

function parametersOf(name: ModelName): number {
  const { family, config } = configOf(modelShape(name, false), 64);
  return countParameters(family.specs(config));
}
