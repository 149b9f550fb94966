import { type MaskedIds, type Tokenizer, trainBpe } from '../../../src/tokenizer/index.js';
import { readTokenizerJson } from '../../../src/tokenizer/read.js';

export interface ByteTokens {
  readonly special: readonly string[];
  /** Added, but not special: `<think>`. */
  readonly plain?: readonly string[];
  readonly bos?: string;
  readonly eos?: string;
}

/** A tokenizer of single bytes and these tokens: what a text becomes can be told by looking at it. */
export async function byteTokenizer({ special, plain = [], bos, eos }: ByteTokens): Promise<Tokenizer> {
  async function* texts() {
    yield 'a';
  }
  const tokens = [...special, ...plain];
  const trained = await trainBpe(texts(), { vocabSize: 256 + tokens.length, specialTokens: tokens });
  const json = trained.toJson();
  const added = json.added_tokens.map((token) => ({ ...token, special: !plain.includes(token.content) }));
  return readTokenizerJson({ ...json, added_tokens: added }, 'test tokenizer', {
    bos_token: bos ?? null,
    eos_token: eos ?? null,
  });
}

/** The text with what is trained in double brackets. */
export function shown(tokenizer: Tokenizer, { ids, mask }: MaskedIds): string {
  let out = '';
  for (let i = 0; i < ids.length; ) {
    let end = i;
    while (end < ids.length && mask[end] === mask[i]) end++;
    const text = tokenizer.decode(ids.subarray(i, end));
    out += mask[i] ? `⟦${text}⟧` : text;
    i = end;
  }
  return out;
}
