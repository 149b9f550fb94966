import { TrainMoeError } from '../../errors.js';
import { Engine } from '../../generate/index.js';
import { disposeModel } from '../../models/codec.js';
import type { Case, Job } from '../case.js';
import { randomInts } from '../inputs.js';
import { buildModel, modelShape, modelVariants } from '../model.js';
import type { JobShapes } from '../shapes.js';

/** `prompt` random tokens in, `new` tokens out, greedy, no early end; counted over the whole time, prompts included. */
export const decode: Job<'decode'> = {
  name: 'decode',
  repetitions: { budget: 3, warmup: 1, least: 3, most: 20 },
  run(c) {
    for (const { dtype, rival } of modelVariants(c.options.dtype))
      c.attempt({ rival }, () => timeDecode(c, dtype, rival));
  },
};

function timeDecode(c: Case<JobShapes['decode']>, dtype: 'f32' | 'bf16', rival: string): void {
  const { batch, prompt, new: count } = c.shape;
  const sizes = modelShape(c.shape.model, c.options.smoke);
  const model = buildModel(sizes, { dtype, device: c.device, train: false, context: prompt + count });
  const pageSize = 32;
  const pages = batch * (Math.ceil((prompt + count) / pageSize) + 1);
  const engine = new Engine(model, {
    cacheTokens: pages * pageSize,
    pageSize,
    maxBatch: batch,
    prefillTokens: batch * prompt,
  });
  try {
    const prompts = Array.from({ length: batch }, (_, i) => [...randomInts(prompt, sizes.vocab_size!, i + 1)]);
    c.time({ rival, metric: 'tokens_per_s', work: batch * count }, () => {
      const completions = engine.generate(prompts, { temperature: 0, maxTokens: count });
      const short = completions.flat().find(({ ids }) => ids.length !== count);
      if (short)
        throw new TrainMoeError(
          'internal',
          `A completion has ${short.ids.length} tokens where ${count} were asked for.`,
        );
    });
  } finally {
    engine.dispose();
    disposeModel(model);
  }
}
