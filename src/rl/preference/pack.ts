import { IGNORE } from '../../data/index.js';
import type { MaskedIds } from '../../tokenizer/index.js';

/** A rendered text: its ids, and which of them are the answer that is judged. */
export type Text = Pick<MaskedIds, 'ids' | 'mask'>;

/** Texts laid end to end in one row without padding; a token sees its own text only. */
export interface PackedTexts {
  /** [T] */
  readonly ids: Int32Array;
  /** [T] the answer's token that comes next; -100 elsewhere. */
  readonly targets: Int32Array;
  /** [T] */
  readonly documentStart: Int32Array;
  /** [R] the row that predicts token r of the answers. */
  readonly rows: Int32Array;
  /** [S+1] first answer token of each text. */
  readonly starts: Int32Array;
  /** [S] the row of each text's last token. */
  readonly last: Int32Array;
}

export function packTexts(texts: readonly Text[]): PackedTexts {
  const length = texts.reduce((n, { ids }) => n + ids.length, 0);
  const ids = new Int32Array(length);
  const targets = new Int32Array(length).fill(IGNORE);
  const documentStart = new Int32Array(length);
  const rows: number[] = [];
  const starts = [0];
  const last: number[] = [];
  let at = 0;
  for (const text of texts) {
    ids.set(text.ids, at);
    documentStart.fill(at, at, at + text.ids.length);
    for (let i = 1; i < text.ids.length; i++) {
      if (!text.mask[i]) continue;
      targets[at + i - 1] = text.ids[i]!;
      rows.push(at + i - 1);
    }
    starts.push(rows.length);
    at += text.ids.length;
    last.push(at - 1);
  }
  return {
    ids,
    targets,
    documentStart,
    rows: Int32Array.from(rows),
    starts: Int32Array.from(starts),
    last: Int32Array.from(last),
  };
}

/** Cuts examples, in order, into parts of at most `limit` tokens; a larger one is a part of its own. */
export function cutByTokens<E>(examples: readonly E[], tokensOf: (example: E) => number, limit: number): E[][] {
  const parts: E[][] = [];
  let tokens = Number.POSITIVE_INFINITY;
  for (const example of examples) {
    const size = tokensOf(example);
    if (tokens + size > limit) {
      parts.push([]);
      tokens = 0;
    }
    parts.at(-1)!.push(example);
    tokens += size;
  }
  return parts;
}
