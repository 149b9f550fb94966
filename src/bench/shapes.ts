import { cpuShapes, ownCpuShapes } from './shapes/cpu.js';
import { cudaShapes, ownCudaShapes } from './shapes/cuda.js';
import type { ShapeGroup, ShapeLists } from './shapes/jobs.js';
import { textShapes } from './shapes/text.js';

export type { JobName, JobShapes, Shape, ShapeGroup, ShapeLists } from './shapes/jobs.js';
export { type ModelName, type ModelShape, models } from './shapes/models.js';

/*
 * The named shapes of the benchmark: facts that other benchmarks of the same work share, so that rows can be compared by
 * job, name and metric. Keys are those of the rows printed. Sizes in a name are what they say: `2048x512x256` is M x N x K.
 */

/** Shapes that other benchmarks share with ours. */
export const sharedShapes: Readonly<Record<ShapeGroup, ShapeLists>> = {
  cpu: cpuShapes,
  cuda: cudaShapes,
  text: textShapes,
};

/** Shapes of our own: bounds of the machine, and ops that have no rival on a CPU. Their rows carry `own: true`. */
export const ownShapes: Readonly<Record<ShapeGroup, ShapeLists>> = { cpu: ownCpuShapes, cuda: ownCudaShapes, text: {} };
