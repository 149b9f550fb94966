import * as native from '../../native.gen.js';
import { empty } from '../../tensor/index.js';
import { type Job, shortWork } from '../case.js';
import { draw, into, none } from '../inputs.js';

/** The other kernels of dense products on a GPU (TRAIN_MOE_GEMM). */
const KERNELS = ['portable', 'cublaslt'];

/**
 * A linear layer: x [M,K] times W [N,K] transposed, and the products of its gradients, dx = g W and dW = g^T x (in f32).
 * W is a plain tensor, so nothing about it is remembered between repetitions; `gemm_packed` keeps it packed, as generation
 * does.
 */
export const gemm: Job<'gemm'> = {
  name: 'gemm',
  rows: ['gemm', 'gemm_dgrad', 'gemm_wgrad', 'gemm_packed'],
  repetitions: shortWork,
  run(c) {
    const { m, n, k, dtype } = c.shape;
    const on = { dtype, device: c.device };
    const x = draw([m, k], on);
    const w = draw([n, k], on);
    const g = draw([m, n], on);
    const count = { metric: 'tflop_per_s', work: 2e-12 * m * n * k } as const;
    const y = empty([m, n], on);
    const dx = empty([m, k], on);
    const dw = empty([n, k], { device: c.device });
    const products = {
      gemm: () => native.linearForward(y, x, w, undefined),
      gemm_dgrad: () => native.linearBackward(into(dx), none, none, g, x, w),
      gemm_wgrad: () => native.linearBackward(none, into(dw), none, g, x, w),
    };
    for (const [job, run] of Object.entries(products)) c.time({ ...count, job }, run);
    const kept = draw([n, k], { ...on, weight: true });
    c.time({ ...count, job: 'gemm_packed', own: true }, () => native.linearForward(y, x, kept, undefined));
    if (c.device.kind !== 'cuda' || dtype !== 'bf16') return;
    for (const kernel of KERNELS)
      for (const [job, run] of Object.entries(products))
        c.time({ ...count, job, rival: `train-moe-${kernel}` }, () => by(kernel, run));
  },
};

/** Runs a product with the kernel that TRAIN_MOE_GEMM names. */
function by(kernel: string, product: () => void): void {
  process.env.TRAIN_MOE_GEMM = kernel;
  try {
    product();
  } finally {
    delete process.env.TRAIN_MOE_GEMM;
  }
}
