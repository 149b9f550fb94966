import type { IdBuffer } from '../encoder.js';
import type { SubwordModel } from './model.js';
import type { Trie } from './trie.js';

/** What a WordPiece model is made of. */
export interface WordPieceOptions {
  /** All tokens as they are spelled: those inside a word begin with the prefix. */
  readonly trie: Trie;
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
  return {
    type: 'WordPiece',
    encode(word: string, barred: Uint8Array | undefined, out: IdBuffer): void {
      const before = out.length;
      if (!longerThan(word, maxChars) && greedy(trie, inside, word, barred, out)) return;
      out.length = before;
      out.push(unkId);
    },
  };
}

/** Appends the longest tokens from the left; false where none fits. Each costs one walk down the tree, however long the word. */
function greedy(trie: Trie, inside: number, word: string, barred: Uint8Array | undefined, out: IdBuffer): boolean {
  for (let at = 0; at < word.length; ) {
    let node = at === 0 ? 0 : inside;
    let end = at;
    let best = -1;
    for (let i = at; i < word.length && node >= 0; ) {
      node = trie.step(node, word.charCodeAt(i++));
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
}

/** Has the text more code points than `limit`? */
function longerThan(text: string, limit: number): boolean {
  if (text.length <= limit) return false;
  let lows = 0;
  for (let i = 0; i < text.length; i++) if ((text.charCodeAt(i) & 0xfc00) === 0xdc00) lows++;
  return text.length - lows > limit;
}
