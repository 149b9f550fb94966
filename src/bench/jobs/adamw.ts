import * as native from '../../native.gen.js';
import { empty, from, type Tensor, zeros } from '../../tensor/index.js';
import { type Job, shortWork } from '../case.js';
import { draw, into } from '../inputs.js';

/** Tensors that the parameters are spread over. */
const TENSORS = 20;

/**
 * One optimizer step. `f32`: parameters, gradients and moments in f32, no clipping. `master`: bf16 gradients, clipping by
 * the global norm, f32 masters and moments, and the parameters written back in bf16.
 */
export const adamw: Job<'adamw'> = {
  name: 'adamw',
  repetitions: shortWork,
  run(c) {
    const { device } = c;
    const narrow = c.shape.state === 'master';
    const size = Math.floor(c.shape.params / TENSORS);
    const dtype = narrow ? 'bf16' : 'f32';
    const all = (make: () => Tensor) => Array.from({ length: TENSORS }, make);
    const masters = all(() => draw([size], { dtype: 'f32', device }));
    const copies = narrow ? all(() => empty([size], { dtype: 'bf16', device })) : masters.map(() => undefined);
    const gradients = all(() => draw([size], { dtype, device }));
    const [m, v] = [all(() => zeros([size], { device })), all(() => zeros([size], { device }))];
    const decays = masters.map(() => 0.1);
    const scale = from(Float32Array.of(1), [1], { device });
    const rates = from(new Float64Array(4), [4], { device });
    const norm = empty([1], { device });
    const sum = zeros([1], { dtype: 'f64', device });
    let steps = 0;
    c.time({ metric: 'params_per_s', work: c.shape.params }, () => {
      steps++;
      rates.write(Float64Array.of(1e-4, 1 - 0.9 ** steps, 1 - 0.95 ** steps, steps));
      if (narrow) {
        native.sumSquares(into(sum), gradients);
        native.clipScale(scale, norm, sum, undefined, 1);
      }
      native.adamw(masters, copies, gradients, m, v, decays, scale, rates, 0.9, 0.95, 1e-8);
    });
  },
};
