import * as native from '../../native.gen.js';
import { empty, from } from '../../tensor/index.js';
import { type Job, shortWork } from '../case.js';
import { draw, drawInts, into, none } from '../inputs.js';

/** From logits to the mean loss's gradient of the logits. */
export const crossEntropy: Job<'cross_entropy'> = {
  name: 'cross_entropy',
  repetitions: shortWork,
  run(c) {
    const { rows, vocab, dtype } = c.shape;
    const { device } = c;
    const logits = draw([rows, vocab], { dtype, device });
    const dlogits = empty([rows, vocab], { dtype, device });
    const targets = drawInts(rows, vocab, device);
    const nll = empty([rows], { device });
    const lse = empty([rows], { device });
    const dnll = from(new Float32Array(rows).fill(1 / rows), [rows], { device });
    c.time({ metric: 'rows_per_s', work: rows }, () => {
      native.crossEntropyForward(nll, lse, undefined, logits, targets, 1);
      native.crossEntropyBackward(into(dlogits), dnll, undefined, lse, logits, targets, 1);
    });
  },
};

/** From the last hidden states to the loss and the gradients of states and output layer (f32), as a training step does. */
export const linearCrossEntropy: Job<'linear_cross_entropy'> = {
  name: 'linear_cross_entropy',
  repetitions: shortWork,
  run(c) {
    const { rows, hidden, vocab, dtype } = c.shape;
    const { device } = c;
    const on = { dtype, device };
    const x = draw([rows, hidden], on);
    const w = draw([vocab, hidden], on, 0.02);
    const targets = drawInts(rows, vocab, device);
    const nll = empty([rows], { device });
    const lse = empty([rows], { device });
    const dx = empty([rows, hidden], on);
    const dw = empty([vocab, hidden], { device });
    const dnll = from(new Float32Array(rows).fill(1 / rows), [rows], { device });
    c.time({ metric: 'tflop_per_s', work: 6e-12 * rows * hidden * vocab }, () =>
      native.linearCrossEntropyTrain(nll, lse, into(dx), into(dw), none, dnll, x, w, undefined, targets, 0),
    );
  },
};
