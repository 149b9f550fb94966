import type { IdBuffer } from '../encoder.js';
import type { SubwordModel } from './model.js';
import type { Trie } from './trie.js';

/** What a WordPiece model is made of. */
export interface WordPieceOptions {
  /** All tokens as they are spelled: those inside a word begin with the prefix. */
  readonly trie: Pick<Trie, 'step' | 'idAt' | 'walk'>;
  /** How tokens inside a word begin: `##`. */
  readonly prefix: string;
  readonly unkId: number;
  /** A word of more code points is one unknown token. */
  readonly maxChars: number;
}

/**
 * WordPiece: from the left, always the longest token that fits; those after the first carry the prefix. A word that cannot be
 * written so is one unknown token. (Wu et al., arXiv:1609.08144; BERT's greedy form, arXiv:1810.04805.)
 */
export function wordPiece({ trie, prefix, unkId, maxChars }: WordPieceOptions): SubwordModel {
  const inside = trie.walk(prefix);

  /** Appends the longest tokens from the left; false where none fits. Each costs one walk down the tree. */
  const greedy = (
    bytes: Uint8Array,
    from: number,
    to: number,
    barred: Uint8Array | undefined,
    out: IdBuffer,
  ): boolean => {
    for (let at = from; at < to; ) {
      let node = at === from ? 0 : inside;
      let end = at;
      let best = -1;
      for (let i = at; i < to && node >= 0; ) {
        node = trie.step(node, bytes[i++]!);
        const id = node < 0 ? -1 : trie.idAt(node);
        if (id < 0 || barred?.[id]) continue;
        best = id;
        end = i;
      }
      if (best < 0) return false;
      out.push(best);
      at = end;
    }
    return true;
  };

  return {
    type: 'WordPiece',
    pieces: (barred) => ({
      encode(bytes: Uint8Array, from: number, to: number, out: IdBuffer): void {
        const before = out.length;
        if (!longerThan(bytes, from, to, maxChars) && greedy(bytes, from, to, barred, out)) return;
        out.length = before;
        out.push(unkId);
      },
    }),
  };
}

/** Has `bytes[from, to)` more code points than `limit`? */
function longerThan(bytes: Uint8Array, from: number, to: number, limit: number): boolean {
  let count = 0;
  if (to - from > limit) for (let i = from; i < to; i++) if ((bytes[i]! & 0xc0) !== 0x80) count++;
  return count > limit;
}
