import type { RunConfigInput } from './schema.js';

/**
 * Runs that fit a laptop, by the size of their model. A preset is the lowest layer: a config file and flags override it
 * key by key. The `model` part of each is the preset of that name in src/models.
 */
export const presets: Readonly<Record<string, RunConfigInput>> = {
  micro: {
    tokenizer: { vocabSize: 2048 },
    train: { steps: 400, rows: 8, length: 256, optimizer: { lr: 3e-3 } },
    evaluate: { every: 100, windows: 32 },
  },
  nano: {
    tokenizer: { vocabSize: 4096 },
    train: { steps: 1000, rows: 8, length: 256, optimizer: { lr: 2e-3 }, schedule: { warmup: 50 } },
  },
  mini: {
    tokenizer: { vocabSize: 8192 },
    train: { steps: 2000, rows: 4, length: 512, optimizer: { lr: 1e-3 }, schedule: { warmup: 100 } },
  },
};
