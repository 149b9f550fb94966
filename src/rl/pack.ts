import { IGNORE } from '../data/index.js';
import type { Sample } from './sample.js';

/**
 * Prompts with their completions, laid end to end in one row without padding. A token sees its own document only; the last
 * token of a completion predicts nothing and is left out.
 */
export interface Packed<S extends Sample = Sample> {
  readonly samples: readonly S[];
  /** [T] */
  readonly ids: Int32Array;
  /** [T] the completion token that comes next; -100 inside prompts. */
  readonly targets: Int32Array;
  /** [T] */
  readonly documentStart: Int32Array;
  /** [R] the row that predicts completion token r. */
  readonly rows: Int32Array;
  /** [S+1] first completion token of each sample. */
  readonly starts: Int32Array;
}

/** Rows that a sample takes in a packed batch. */
export const packedLength = ({ question, ids }: Sample): number => question.ids.length + ids.length - 1;

export function pack<S extends Sample>(samples: readonly S[]): Packed<S> {
  const length = samples.reduce((n, s) => n + packedLength(s), 0);
  const tokens = samples.reduce((n, s) => n + s.ids.length, 0);
  const packed = {
    samples,
    ids: new Int32Array(length),
    targets: new Int32Array(length).fill(IGNORE),
    documentStart: new Int32Array(length),
    rows: new Int32Array(tokens),
    starts: new Int32Array(samples.length + 1),
  };
  let at = 0;
  let token = 0;
  samples.forEach((sample, i) => {
    const prompt = sample.question.ids;
    packed.ids.set(prompt, at);
    packed.ids.set(sample.ids.slice(0, -1), at + prompt.length);
    packed.documentStart.fill(at, at, at + packedLength(sample));
    const first = at + prompt.length - 1;
    packed.targets.set(sample.ids, first);
    sample.ids.forEach((_, t) => {
      packed.rows[token++] = first + t;
    });
    packed.starts[i + 1] = token;
    at += packedLength(sample);
  });
  return packed;
}

/** Cuts samples, in order, into parts of at most `limit` rows (a longer sample is a part of its own). */
export function cutByRows<S extends Sample>(samples: readonly S[], limit: number): S[][] {
  const parts: S[][] = [];
  let rows = Number.POSITIVE_INFINITY;
  for (const sample of samples) {
    const length = packedLength(sample);
    if (rows + length > limit) {
      parts.push([]);
      rows = 0;
    }
    parts.at(-1)!.push(sample);
    rows += length;
  }
  return parts;
}
