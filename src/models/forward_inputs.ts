import { contextOf, type Model } from './family.js';
import { type RecurrentInputs, refused } from './recurrence.js';

/** Arguments of a model as transformers takes them; [B,T] row-major, labels not shifted, -100 ignored. */
export interface ForwardInputs extends RecurrentInputs {
  /** [B,T] */
  readonly shape: readonly [number, number];
  /** [B,T] */
  readonly inputIds: Int32Array;
  /** [B,T] 1 on tokens, 0 on padding; absent: no padding. */
  readonly attentionMask?: Int32Array;
  /** [B,T] absent: counted as transformers counts them. */
  readonly positionIds?: Int32Array;
  /** [B,T] of encoders and XLNet, which of two sentences each token is of; absent: 0, or no scores for it. */
  readonly tokenTypeIds?: Int32Array;
  /** [B,T], or of XLNet's targets [B,K]; absent: no loss. */
  readonly labels?: Int32Array;
  /** [B] of encoders that judge pairs of sentences; absent: that loss is left out. */
  readonly relationLabels?: Int32Array;
  /** Weight of the multi-token-prediction loss in `loss`; absent: the module is left out. */
  readonly mtpWeight?: number;
}

/**
 * Refuses arguments that do not belong together.
 * @throws TrainMoeError `bad-argument` for arguments of another size, or that the model does not take
 */
export function checkInputs(model: Pick<Model, 'family' | 'config'>, inputs: ForwardInputs): void {
  const { family } = model;
  const { shape, inputIds, attentionMask, positionIds, tokenTypeIds, labels, relationLabels, targetMapping } = inputs;
  const [rows, length] = shape;
  const sized = (name: string, values: ArrayLike<number> | undefined, expected: readonly number[]) => {
    if (values && values.length !== expected.reduce((a, b) => a * b, 1))
      throw refused(`${name} has ${values.length} values; [${expected}] are expected.`);
  };
  sized('input_ids', inputIds, shape);
  sized('attention_mask', attentionMask, shape);
  sized('position_ids', positionIds, shape);
  sized('token_type_ids', tokenTypeIds, shape);
  sized('labels', labels, targetMapping ? [rows, Math.floor(targetMapping.length / rows / length)] : shape);
  sized('The label of sentence pairs', relationLabels, [rows]);
  if (tokenTypeIds && !family.encoder && !family.recurrence)
    throw refused(`token_type_ids are arguments of encoders and XLNet; this is a ${family.name} model.`);
  const context = contextOf(model);
  if (length > context && !positionIds && !attentionMask)
    throw refused(`The rows have ${length} tokens, but the model reads ${context}; make them shorter.`);
  if (attentionMask && !family.recurrence) refuseHoles(attentionMask, length);
}

/** Only XLNet's attention hides keys one by one; of others each row sees one run of them. */
function refuseHoles(mask: Int32Array, length: number): void {
  for (let start = 0; start < mask.length; start += length) {
    const row = mask.subarray(start, start + length);
    const [first, last] = [row.findIndex((m) => m !== 0), row.findLastIndex((m) => m !== 0)];
    if (first >= 0 && row.subarray(first, last).includes(0))
      throw refused(
        `attention_mask hides a token between others in row ${start / length}; this model takes padding on the left and right only.`,
      );
  }
}
