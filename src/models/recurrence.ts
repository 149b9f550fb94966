import { TrainMoeError } from '../errors.js';
import { makeRelativeLayout, type Relative } from '../nn/relative_layout.js';
import { type Device, from, type Tensor } from '../tensor/index.js';
import type { Model, Recurrence } from './family.js';

/** Arguments of XLNet besides those of other models, as transformers takes them. */
export interface RecurrentInputs {
  /** [B,T,T] other than 0 where token i may not see token j. */
  readonly permMask?: ArrayLike<number> | undefined;
  /** [B,K,T], rows with one 1 or none: the places that the second stream predicts. Logits and labels are those of [B,K] then. */
  readonly targetMapping?: ArrayLike<number> | undefined;
  /** Per layer [M,B,C], what an earlier pass gave as newMems. */
  readonly mems?: readonly ArrayLike<number>[] | undefined;
}

interface Arguments extends RecurrentInputs {
  readonly shape: readonly [number, number];
  readonly attentionMask?: Int32Array | undefined;
  readonly tokenTypeIds?: Int32Array | undefined;
}

/**
 * A pass of a model with a memory, and what it will remember once it has run; undefined of other models.
 * @throws TrainMoeError `bad-argument` for arguments of another size, or that the model does not take
 */
export function recurrentPass(
  { family, config, dtype }: Model,
  inputs: Arguments,
  device: Device,
): { readonly relative: Relative; readonly newMems: () => readonly Float32Array[] | undefined } | undefined {
  const recurrence = family.recurrence?.(config);
  const { shape, permMask, targetMapping, mems } = inputs;
  if (!recurrence) {
    if (!permMask && !targetMapping && !mems) return undefined;
    throw refused(`perm_mask, target_mapping and mems are arguments of XLNet; this is a ${family.name} model.`);
  }
  const [rows, length] = shape;
  const width = (config as { readonly hidden: number }).hidden;
  if (permMask && permMask.length !== rows * length * length)
    throw refused(`perm_mask has ${permMask.length} values; [${rows},${length},${length}] are expected.`);
  if (mems && (mems.length !== family.layers(config) || mems.some((m) => m.length !== mems[0]!.length)))
    throw refused(
      `There are ${mems.length} mems; one of equal size for each of ${family.layers(config)} layers is expected.`,
    );
  const memory = mems ? mems[0]!.length / rows / width : 0;
  if (!Number.isInteger(memory))
    throw refused(`mems.0 has ${mems![0]!.length} values; [memory,${rows},${width}] are expected.`);
  const layers: Float32Array[] = [];
  const layout = makeRelativeLayout(
    recurrence,
    {
      rows,
      length,
      memory,
      mask: inputs.attentionMask,
      permutation: permMask,
      targets: targetMapping && placesOf(targetMapping, shape),
      types: inputs.tokenTypeIds,
    },
    device,
  );
  const tensorOf = (m: ArrayLike<number>): Tensor =>
    from(exchange(m, memory, rows, width), [rows * memory, width], { dtype, device });
  return {
    relative: {
      layout,
      memory: memory > 0 ? mems!.map(tensorOf) : undefined,
      onLayer: (i, x) => {
        if (recurrence.remembers) layers[i] = x.read();
      },
    },
    newMems: () =>
      recurrence.remembers
        ? layers.map((x, i) => remembered(recurrence, mems?.[i] ?? [], exchange(x, rows, length, width), rows * width))
        : undefined,
  };
}

/** An argument that a model does not take. */
export const refused = (sentence: string) => new TrainMoeError('bad-argument', sentence);

/** Where the 1 of each row [B,K,T] is; -1 where there is none. */
function placesOf(mapping: ArrayLike<number>, [rows, length]: readonly [number, number]): Int32Array {
  if (mapping.length % (rows * length) !== 0)
    throw refused(`target_mapping has ${mapping.length} values; [${rows},targets,${length}] are expected.`);
  return Int32Array.from({ length: mapping.length / length }, (_, r) => {
    const row = Array.from({ length }, (_x, i) => mapping[r * length + i]!);
    if (row.some((x) => x !== 0 && x !== 1) || row.filter((x) => x === 1).length > 1)
      throw refused(`Row ${r} of target_mapping names no single place; one 1 among zeros is expected, or zeros alone.`);
    return row.indexOf(1);
  });
}

/** [A,B,width] -> [B,A,width] */
function exchange(x: ArrayLike<number>, a: number, b: number, width: number): Float32Array {
  const y = new Float32Array(x.length);
  for (let i = 0; i < a; i++)
    for (let j = 0; j < b; j++)
      for (let c = 0; c < width; c++) y[(j * a + i) * width + c] = x[(i * b + j) * width + c]!;
  return y;
}

/** The last tokens of the memory and of what is reused of a segment behind it; `each`: values of a token of all sequences. */
function remembered(r: Recurrence, memory: ArrayLike<number>, segment: Float32Array, each: number): Float32Array {
  const own = r.reuseLength > 0 ? segment.subarray(0, r.reuseLength * each) : segment;
  const all = Float32Array.from([...Array.from(memory), ...own]);
  return r.memoryLength > 0 ? all.subarray(Math.max(0, all.length - r.memoryLength * each)) : all;
}
