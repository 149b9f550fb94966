import * as native from '../../native.gen.js';
import { ropeTableFor } from '../../nn/rope_table.js';
import { bytesOf, empty, from } from '../../tensor/index.js';
import { type Job, shortWork } from '../case.js';
import { draw, into } from '../inputs.js';

/** Ops that are bound by memory: each input counts as read once and each output as written once. */

export const rmsnorm: Job<'rmsnorm'> = {
  name: 'rmsnorm',
  rows: ['rmsnorm_forward', 'rmsnorm_backward'],
  repetitions: shortWork,
  run(c) {
    const { rows, cols, dtype } = c.shape;
    const on = { dtype, device: c.device };
    const x = draw([rows, cols], on);
    const w = draw([cols], on);
    const y = empty([rows, cols], on);
    const rstd = empty([rows], { device: c.device });
    const size = 1e-9 * rows * cols * bytesOf(dtype);
    const forward = () => native.rmsnormForward(y, rstd, x, w, 1e-6);
    c.time({ job: 'rmsnorm_forward', metric: 'gb_per_s', work: 2 * size }, forward);
    forward();
    const dy = draw([rows, cols], on);
    const dx = empty([rows, cols], on);
    const dw = empty([cols], { device: c.device });
    c.time({ job: 'rmsnorm_backward', metric: 'gb_per_s', work: 3 * size }, () =>
      native.rmsnormBackward(into(dx), into(dw), dy, x, w, rstd),
    );
  },
};

/** The rotation of interleaved pairs, in place. */
export const rope: Job<'rope'> = {
  name: 'rope',
  repetitions: shortWork,
  run(c) {
    const { tokens, heads, dim, dtype } = c.shape;
    const { device } = c;
    const x = draw([tokens, heads, dim], { dtype, device });
    const table = ropeTableFor({ theta: 10_000, yarn: null }, dim, tokens, device);
    const positions = from(
      Int32Array.from({ length: tokens }, (_, i) => i),
      [tokens],
      { device },
    );
    const work = 2e-9 * x.size * bytesOf(dtype);
    c.time({ metric: 'gb_per_s', work }, () => native.rope(x, table, positions, true, false));
  },
};

/** Bytes from one place of memory to another: what the streaming ops are measured by. */
export const copy: Job<'copy'> = {
  name: 'copy',
  repetitions: shortWork,
  run(c) {
    const columns = 1024;
    const shape = [Math.ceil(c.shape.bytes / (4 * columns)), columns];
    const source = draw(shape, { dtype: 'f32', device: c.device });
    const target = empty(shape, source);
    c.time({ metric: 'gb_per_s', work: 2e-9 * 4 * source.size }, () => native.copy(target, source));
  },
};
