import { z } from 'zod';
import { TrainMoeError } from '../../errors.js';
import { check } from '../check.js';
import { bertWords } from './bert.js';

/** Cuts a text, or a word of the step before, into words. */
export type WordSplitter = (text: string) => readonly string[];

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

/** White space separates words and is dropped. */
const whitespaceSplit: WordSplitter = (text) => text.match(/\P{White_Space}+/gu) ?? [];

/** Reads the `pre_tokenizer` of a `tokenizer.json`; `where` begins the sentence of the `TrainMoeError` it may throw. */
export function readWordSplitter(json: unknown, where: string): WordSplitter {
  const steps = flatten(json).map((step) => readStep(step, where));
  const [first, ...others] = steps;
  if (!first) return (text) => [text];
  return (text) => others.reduce((words, step) => words.flatMap(step), first(text));
}

function flatten(json: unknown): unknown[] {
  if (json === null || json === undefined) return [];
  const { type, pretokenizers } = json as { type?: unknown; pretokenizers?: unknown };
  return type === 'Sequence' && Array.isArray(pretokenizers) ? pretokenizers.flatMap(flatten) : [json];
}

function readStep(json: unknown, where: string): WordSplitter {
  const { type } = json as { type?: unknown };
  switch (type) {
    case 'BertPreTokenizer':
      return bertWords;
    case 'WhitespaceSplit':
      return whitespaceSplit;
    case 'Metaspace':
      return metaspace(check(z.object({ pre_tokenizer: Metaspace }), { pre_tokenizer: json }, where).pre_tokenizer);
    default:
      throw new TrainMoeError(
        'bad-data',
        `${where}: pre_tokenizer has type ${JSON.stringify(type)}; supported are BertPreTokenizer, WhitespaceSplit, Metaspace and Sequence.`,
      );
  }
}

/** Spaces become the replacement, which also goes before a text that has none there; each begins a word. */
function metaspace({ replacement, prepend, split }: z.infer<typeof Metaspace>): WordSplitter {
  const at = `\\u{${replacement.codePointAt(0)!.toString(16)}}`;
  const word = new RegExp(`${at}[^${at}]*|[^${at}]+`, 'gu');
  return (text) => {
    const replaced = text.replaceAll(' ', replacement);
    const marked = prepend && !replaced.startsWith(replacement) ? replacement + replaced : replaced;
    return split ? (marked.match(word) ?? []) : [marked];
  };
}
