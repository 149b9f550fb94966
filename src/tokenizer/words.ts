import type { TextTokenizer } from './text_tokenizer.js';

/** What a vocabulary has to say of where words begin and sentences end. */
type Readable = Pick<TextTokenizer, 'type' | 'vocabSize' | 'isToken' | 'isSpecial' | 'tokenOf' | 'decode'>;

const hasLine = /\n/;
const endOfSentence = /[.!?…。！？]["'”’»)\]]*\s*$/u;
/** Half a character shows as U+FFFD, which begins nothing. */
const beginsWord = /^(?!\uFFFD)[\s▁\p{P}\p{S}]/u;

/**
 * Whether a word begins with a token: with WordPiece those that are not marked as a continuation, else those that begin with white
 * space, as pieces of BPE and Unigram carry it, or with punctuation; and special tokens.
 */
export function wordStarts(tokenizer: Readable): (id: number) => boolean {
  return tableOf(tokenizer, (id) =>
    tokenizer.type === 'WordPiece'
      ? !tokenizer.tokenOf(id).startsWith('##')
      : beginsWord.test(tokenizer.type === 'Unigram' ? tokenizer.tokenOf(id) : tokenizer.decode([id])),
  );
}

/** Whether a sentence ends with a token: with a full stop and the like, a line break, or a special token such as a document's end. */
export function sentenceEnds(tokenizer: Readable): (id: number) => boolean {
  return tableOf(tokenizer, (id) => {
    const text = tokenizer.decode([id]);
    return hasLine.test(text) || endOfSentence.test(text);
  });
}

/** Asks once for every id; special tokens stand for themselves. */
function tableOf(tokenizer: Readable, of: (id: number) => boolean): (id: number) => boolean {
  const table = Uint8Array.from({ length: tokenizer.vocabSize }, (_, id) =>
    tokenizer.isToken(id) && (tokenizer.isSpecial(id) || of(id)) ? 1 : 0,
  );
  return (id) => table[id] === 1;
}
