import * as native from '../native.gen.js';
import { type Device, empty, from, type Tensor } from '../tensor/index.js';

/** How the token of each row is drawn. */
export interface SampleSettings {
  /** [R,4] temperature, top-p, min-p, repetition penalty. */
  readonly settings: Float32Array;
  /** [R], 0: off. */
  readonly topK: Int32Array;
  /** [R,2] seed and position: the only source of chance. */
  readonly seeds: Int32Array;
  /** [R,width], -1: nothing. */
  readonly history?: { readonly ids: Int32Array; readonly width: number };
}

/** The same as tensors on the device of the logits. */
export interface SampleInputs {
  /** [R,4] f32 */
  readonly settings: Tensor;
  /** [R] i32 */
  readonly topK: Tensor;
  /** [R,2] i32 */
  readonly seeds: Tensor;
  /** [R,width] i32 */
  readonly history?: Tensor | undefined;
}

/**
 * One token per row of logits [R,V]. `logprobs` are log softmax(logits / temperature) at the token, before truncation and
 * penalty (temperature 0: at temperature 1). -> ids [R] i32, logprobs [R] f32
 */
export function sample(logits: Tensor, s: SampleSettings): { readonly ids: Tensor; readonly logprobs: Tensor } {
  return sampleFrom(logits, sampleInputs(s, logits.device));
}

/** Puts the settings on a device. */
export function sampleInputs(s: SampleSettings, device: Device): SampleInputs {
  const rows = s.topK.length;
  return {
    settings: from(s.settings, [rows, 4], { device }),
    topK: from(s.topK, [rows], { device }),
    seeds: from(s.seeds, [rows, 2], { device }),
    history: s.history && from(s.history.ids, [rows, s.history.width], { device }),
  };
}

/** As sample(), with settings that are on the device already. */
export function sampleFrom(logits: Tensor, s: SampleInputs): { readonly ids: Tensor; readonly logprobs: Tensor } {
  const rows = logits.shape[0]!;
  const ids = empty([rows], { dtype: 'i32', device: logits.device });
  const logprobs = empty([rows], { device: logits.device });
  native.sample(ids, logprobs, logits, s.settings, s.topK, s.seeds, s.history);
  return { ids, logprobs };
}
