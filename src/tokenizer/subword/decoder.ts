import { z } from 'zod';
import { TrainMoeError } from '../../errors.js';
import { check } from '../check.js';
import { Metaspace } from './pre_tokenizer.js';

/** The text that one token stands for; what it is may depend on whether it is the first of a text. */
export type TokenDecoder = (token: string, first: boolean) => string;

const WordPiece = z.object({
  type: z.literal('WordPiece'),
  prefix: z.string().default('##'),
  cleanup: z.boolean().default(true),
});

/** Reads the `decoder` of a `tokenizer.json`; `where` begins the sentence of the `TrainMoeError` it may throw. */
export function readDecoder(json: unknown, where: string): TokenDecoder {
  if (json === null || json === undefined) return (token, first) => (first ? token : ` ${token}`);
  const { type } = json as { type?: unknown };
  switch (type) {
    case 'WordPiece': {
      const { prefix, cleanup } = check(z.object({ decoder: WordPiece }), { decoder: json }, where).decoder;
      return wordPieceDecoder(prefix, cleanup);
    }
    case 'Metaspace': {
      const { replacement, prepend } = check(z.object({ decoder: Metaspace }), { decoder: json }, where).decoder;
      return (token, first) => token.replaceAll(replacement, first && prepend ? '' : ' ');
    }
    default:
      throw new TrainMoeError(
        'bad-data',
        `${where}: decoder has type ${JSON.stringify(type)}; supported are WordPiece and Metaspace.`,
      );
  }
}

/** What `cleanup` mends, in order: spaces before punctuation and inside English contractions. */
const MENDED: readonly (readonly [from: string, to: string])[] = [
  [' .', '.'],
  [' ?', '?'],
  [' !', '!'],
  [' ,', ','],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [' do not', " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
];

/** Tokens with the prefix go on with a word, others begin one. Cleaning sees each token with the space before it. */
function wordPieceDecoder(prefix: string, cleanup: boolean): TokenDecoder {
  return (token, first) => {
    const text = first ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
    return cleanup ? MENDED.reduce((out, [from, to]) => out.replaceAll(from, to), text) : text;
  };
}
