import type { Model } from '../models/family.js';
import type { LoadedModel } from '../models/folder.js';
import type { AdamW } from '../optim/adamw.js';

/**
 * Begins the masters of a bf16 model with the values of the folder that it was loaded from, which its own weights round. A model
 * of random weights has no other values than its own.
 */
export function exactMasters(model: Model & Partial<LoadedModel>, optimizer: AdamW): void {
  if (model.dtype === 'f32' || optimizer.config.master === false) return;
  model.exact?.((tensor, values) => {
    const master = optimizer.masterOf(tensor);
    if (master !== tensor) master.write(values);
  });
}
