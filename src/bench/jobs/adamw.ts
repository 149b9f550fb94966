import * as native from '../../native.gen.js';
import { empty, from, type Tensor, zeros } from '../../tensor/index.js';
import { type Job, shortWork } from '../case.js';
import { draw, into } from '../inputs.js';

/** Tensors that the parameters are spread over. */
const TENSORS = 20;

interface Slot {
  readonly master: Tensor;
  readonly copy: Tensor | undefined;
  readonly grad: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
}

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
    const slots = Array.from(
      { length: TENSORS },
      (): Slot => ({
        master: draw([size], { dtype: 'f32', device }),
        copy: narrow ? empty([size], { dtype: 'bf16', device }) : undefined,
        grad: draw([size], { dtype, device }),
        m: zeros([size], { device }),
        v: zeros([size], { device }),
      }),
    );
    const scale = from(Float32Array.of(1), [1], { device });
    const norm = empty([1], { device });
    const sum = zeros([1], { dtype: 'f64', device });
    let steps = 0;
    c.time({ metric: 'params_per_s', work: c.shape.params }, () => {
      steps++;
      if (narrow) {
        slots.forEach(({ grad }, i) => {
          native.sumSquares(i === 0 ? into(sum) : { id: sum.id, beta: 1 }, grad);
        });
        native.clipScale(scale, norm, sum, 1);
      }
      for (const { master, copy, grad, m, v } of slots)
        native.adamw(
          master,
          copy,
          grad,
          m,
          v,
          scale,
          1e-4,
          0.9,
          0.95,
          1e-8,
          0.1,
          1 - 0.9 ** steps,
          1 - 0.95 ** steps,
          steps,
        );
    });
  },
};
