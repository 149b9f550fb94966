import * as native from '../native.gen.js';
import { empty, from, type Tensor } from '../tensor/index.js';

export interface SampleSettings {
  readonly settings: Float32Array; // [R,4] temperature, top-p, min-p, repetition penalty
  readonly topK: Int32Array; // [R], 0: off
  readonly seeds: Int32Array; // [R,2] seed and position: the only source of chance
  readonly history?: { readonly ids: Int32Array; readonly width: number }; // [R,width], -1: nothing
}

/**
 * One token per row of logits [R,V]. `logprobs` are log softmax(logits / temperature) at the token, before truncation and
 * penalty (temperature 0: at temperature 1). -> ids [R] i32, logprobs [R] f32
 */
export function sample(logits: Tensor, s: SampleSettings): { readonly ids: Tensor; readonly logprobs: Tensor } {
  const rows = logits.shape[0]!;
  const on = { device: logits.device };
  const ids = empty([rows], { dtype: 'i32', ...on });
  const logprobs = empty([rows], on);
  native.sample(
    ids,
    logprobs,
    logits,
    from(s.settings, [rows, 4], on),
    from(s.topK, [rows], on),
    from(s.seeds, [rows, 2], on),
    s.history && from(s.history.ids, [rows, s.history.width], on),
  );
  return { ids, logprobs };
}
