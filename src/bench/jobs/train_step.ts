import type { Batch } from '../../data/index.js';
import { disposeModel } from '../../models/codec.js';
import { graphsPay } from '../../tensor/index.js';
import { StepGraphs, type StepResult, trainStep } from '../../train/step.js';
import type { Case, Job } from '../case.js';
import { trainFlops } from '../counting.js';
import { randomInts } from '../inputs.js';
import { buildModel, makeOptimizer, modelShape, modelVariants } from '../model.js';
import type { JobShapes } from '../shapes.js';

/**
 * Forward, loss, backward, clipping by the global norm and AdamW on `batch` x `seq` new random tokens: what the trainer
 * runs, without losses and biases that only balance. `train-moe-f32` is f32 throughout; `train-moe-bf16` computes in bf16
 * with f32 masters and moments.
 */
export const trainStepJob: Job<'train_step'> = {
  name: 'train_step',
  repetitions: { budget: 3, warmup: 2, least: 4, most: 100 },
  run(c) {
    for (const { dtype, rival } of modelVariants(c.options.dtype))
      c.attempt({ rival }, () => timeSteps(c, dtype, rival));
  },
};

function timeSteps(c: Case<JobShapes['train_step']>, dtype: 'f32' | 'bf16', rival: string): void {
  const { device, shape } = c;
  const { batch, seq } = shape;
  const peak = c.watchMemory();
  const sizes = modelShape(shape.model, c.options.smoke);
  const model = buildModel(sizes, { dtype, device, train: true, context: seq });
  const optimizer = makeOptimizer(device, model, 0.1);
  const graphs = graphsPay(device) ? new StepGraphs() : undefined;
  try {
    const batches = Array.from({ length: 8 }, (_, i) => randomBatch(batch, seq, sizes.vocab_size!, i));
    let steps = 0;
    const options = {
      device,
      lr: 1e-4,
      clip: 1,
      accumulate: 1,
      mtpWeight: 0,
      balance: false,
      recompute: false,
      biasSpeed: 0,
    };
    const step = (): StepResult => trainStep(model, optimizer, batches[steps++ % batches.length]!, options, graphs);
    const first = step().loss;
    const flops = trainFlops(sizes, batch, seq);
    c.time(
      {
        rival,
        metric: 'tokens_per_s',
        work: batch * seq,
        further: (row) => ({
          tflop_per_s: Number((flops / row.median / 1e12).toFixed(4)),
          peak_bytes: peak(),
          first_loss: Number(first.toFixed(4)),
          last_loss: Number(step().loss.toFixed(4)),
        }),
      },
      step,
    );
  } finally {
    graphs?.dispose();
    optimizer.dispose();
    disposeModel(model);
  }
}

/** Random tokens, each row with the tokens that follow it as targets. */
function randomBatch(rows: number, length: number, vocabulary: number, seed: number): Batch {
  const tokens = randomInts(rows * (length + 1), vocabulary, seed + 1);
  const cut = (from: number) => {
    const out = new Int32Array(rows * length);
    for (let r = 0; r < rows; r++) {
      const start = r * (length + 1) + from;
      out.set(tokens.subarray(start, start + length), r * length);
    }
    return out;
  };
  const documentStart = new Int32Array(rows * length);
  return { rows, length, ids: cut(0), targets: cut(1), documentStart, trainedTokens: rows * length, bytes: 0 };
}
