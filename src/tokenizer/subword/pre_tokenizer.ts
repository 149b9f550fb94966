import { z } from 'zod';
import { TrainMoeError } from '../../errors.js';
import { check } from '../check.js';
import { classAt, runOf, runWithout, SPACE, WHITE_SPACE, widthOf } from '../classes.js';
import type { Splitter } from '../ends.js';
import { inTurn } from '../stages.js';
import { splitBertWords } from './bert.js';
import { trimEnd } from './normalizer.js';

/** How a normalised text is cut into words. */
export interface WordSplitter {
  /** What is done to the text first. */
  readonly rewrite: (text: string) => string;
  /** Cuts it, white space included. */
  readonly split: Splitter;
  /** White space only separates words, and has no ids. */
  readonly dropsSpace: boolean;
}

const one = (text: string): boolean => [...text].length === 1;
/** `Metaspace` of a pre-tokenizer or decoder; old files say `add_prefix_space` instead of `prepend_scheme`. */
export const Metaspace = z
  .object({
    type: z.literal('Metaspace'),
    replacement: z.string().refine(one, 'expected one character'),
    prepend_scheme: z.enum(['always', 'never']).optional(),
    add_prefix_space: z.boolean().default(true),
    split: z.boolean().default(true),
  })
  .refine(
    ({ prepend_scheme, add_prefix_space }) => add_prefix_space || prepend_scheme !== 'always',
    'add_prefix_space is false, but prepend_scheme is "always"',
  )
  .transform(({ replacement, prepend_scheme, add_prefix_space, split }) => ({
    type: 'Metaspace' as const,
    replacement,
    prepend: prepend_scheme ? prepend_scheme === 'always' : add_prefix_space,
    split,
  }));
type Metaspace = z.infer<typeof Metaspace>;

/** Reads the `pre_tokenizer` of a `tokenizer.json`; `where` begins the sentence of the `TrainMoeError` it may throw. */
export function readWordSplitter(json: unknown, where: string): WordSplitter {
  const steps = flatten(json);
  const types = steps.map((step) => (step as { type?: unknown }).type);
  const metaspace = (step: unknown): Metaspace =>
    check(z.object({ pre_tokenizer: Metaspace }), { pre_tokenizer: step }, where).pre_tokenizer;
  switch (types.join(' ')) {
    case '':
      return { rewrite: same, split: whole, dropsSpace: false };
    case 'BertPreTokenizer':
      return { rewrite: same, split: splitBertWords, dropsSpace: true };
    case 'WhitespaceSplit':
      return { rewrite: same, split: splitAtSpace, dropsSpace: true };
    case 'WhitespaceSplit Metaspace':
      return markedWords(metaspace(steps[1]));
    case 'Metaspace':
      return markedText(metaspace(steps[0]));
    default:
      throw new TrainMoeError(
        'bad-data',
        `${where}: pre_tokenizer has the steps ${JSON.stringify(types)}; supported are BertPreTokenizer alone, and WhitespaceSplit, Metaspace or both in this order.`,
      );
  }
}

function flatten(json: unknown): unknown[] {
  if (json === null || json === undefined) return [];
  const { type, pretokenizers } = json as { type?: unknown; pretokenizers?: unknown };
  return type === 'Sequence' && Array.isArray(pretokenizers) ? pretokenizers.flatMap(flatten) : [json];
}

const same = (text: string): string => text;
const whole = inTurn([]);

const splitAtSpace: Splitter = (bytes, start, end, ends) => {
  for (let at = start; at < end; ) {
    at = classAt(bytes, at, end) & SPACE ? runOf(bytes, at, end, SPACE) : runWithout(bytes, at, end, SPACE);
    ends.push(at);
  }
};

/** `Metaspace` on whole text: spaces become the mark, which also goes before a text that does not begin with one. */
function markedText({ replacement, prepend, split }: Metaspace): WordSplitter {
  return {
    rewrite: (text) => {
      const marked = text.replaceAll(' ', replacement);
      return prepend && !marked.startsWith(replacement) ? replacement + marked : marked;
    },
    split: split ? splitBefore(replacement) : whole,
    dropsSpace: false,
  };
}

/** `Metaspace` on each word between white space: a word that does not begin with the mark gets one. */
function markedWords({ replacement, prepend, split }: Metaspace): WordSplitter {
  const beginning = new RegExp(`(?:[${WHITE_SPACE}]+|^)${escapeOf(replacement)}?`, 'gu');
  const mark = (text: string): string => {
    const trimmed = trimEnd(text);
    return trimmed === '' ? '' : trimmed.replace(beginning, ` ${replacement}`);
  };
  return {
    rewrite: prepend ? mark : same,
    split: split ? splitAtSpaceAndBefore(replacement) : splitAtSpace,
    dropsSpace: true,
  };
}

const escapeOf = (character: string): string => `\\u{${character.codePointAt(0)!.toString(16)}}`;

type At = (bytes: Uint8Array, at: number) => boolean;

/** Does this character stand there? */
function isAt(character: string): At {
  const mark = new TextEncoder().encode(character);
  return (bytes, at) => bytes[at] === mark[0] && mark.every((byte, i) => bytes[at + i] === byte);
}

/** Cuts before each occurrence of a character. */
function splitBefore(character: string): Splitter {
  const marked = isAt(character);
  return (bytes, start, end, ends) => {
    for (let at = start + 1; at < end; at++) if (marked(bytes, at)) ends.push(at);
    if (end > start) ends.push(end);
  };
}

/** Cuts at white space, and before each occurrence of a character. */
function splitAtSpaceAndBefore(character: string): Splitter {
  const marked = isAt(character);
  return (bytes, start, end, ends) => {
    for (let at = start; at < end; ends.push(at)) {
      if (classAt(bytes, at, end) & SPACE) at = runOf(bytes, at, end, SPACE);
      else
        do at += widthOf(bytes[at]!);
        while (at < end && (classAt(bytes, at, end) & SPACE) === 0 && !marked(bytes, at));
    }
  };
}
