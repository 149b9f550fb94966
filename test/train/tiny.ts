import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig, type RunConfig } from '../../src/config/index.js';
import { tinyExperts } from '../tiny_models.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** A run that takes a second: a model of two layers, one of them with experts, on our licence and headers. */
export function tinyRun(out: string, overrides: { readonly [section: string]: unknown } = {}): RunConfig {
  const base = {
    preset: 'micro',
    out,
    device: 'cpu',
    data: { sources: [join(root, 'LICENSE'), join(root, 'native')], validation: 0 },
    tokenizer: { vocabSize: 300 },
    model: tinyExperts,
    train: { steps: 12, rows: 4, length: 24, optimizer: { lr: 3e-3 }, schedule: { warmup: 2 } },
    evaluate: { every: 0, windows: 4 },
    save: { every: 4, keep: 2 },
    log: { tensorboard: false },
  };
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(overrides)) {
    const known = merged[key];
    merged[key] =
      known && typeof known === 'object' && !Array.isArray(known) ? { ...known, ...(value as object) } : value;
  }
  return defineConfig(merged as Parameters<typeof defineConfig>[0]);
}
