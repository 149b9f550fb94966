import { text as readAll } from 'node:stream/consumers';
import { TrainMoeError } from '../../errors.js';
import type { TextTokenizer } from '../../tokenizer/index.js';
import { command, jsonOption } from '../command.js';
import { print, printJson } from '../output.js';
import { jsonlOption, outOption, tokenizerOption } from './options.js';

export const encode = command({
  command: 'encode [text]',
  describe: 'text to ids; with --jsonl, every line {"text"} to {"text","ids"}',
  builder: (parser) =>
    parser
      .positional('text', { type: 'string', describe: 'the text; without it and --jsonl, standard input' })
      .option('tokenizer', tokenizerOption)
      .option('jsonl', jsonlOption)
      .option('out', outOption)
      .option('special', {
        type: 'boolean',
        default: true,
        describe: 'take special tokens written in the text as such; --no-special reads them as plain text',
      })
      .option('template', {
        type: 'boolean',
        default: false,
        describe:
          'put the model\'s special tokens around the text, as in [CLS] .. [SEP]; lines of --jsonl may have a "pair"',
      })
      .option('pair', {
        type: 'string',
        requiresArg: true,
        describe: 'a second text, put into the template after the first',
      })
      .option('json', jsonOption)
      .conflicts('jsonl', ['text', 'pair']),
  handler: async (args) => {
    const { openTokenizer } = await import('../../tokenizer/index.js');
    const tokenizer = openTokenizer(args.tokenizer);
    const encode = (text: string, pair?: string) => encoded(tokenizer, text, pair, args);
    if (args.jsonl !== undefined) return encodeLines(args.jsonl, args.out, args.template, encode);
    const record = encode(args.text ?? (await readAll(process.stdin)), args.pair);
    if (args.json) printJson(record);
    else print(record.ids.join(' '));
  },
});

/** What is printed for a text; of a template also the second text, and the segment of each token. */
interface EncodedText {
  readonly text: string;
  readonly pair?: string;
  readonly ids: readonly number[];
  readonly type_ids?: readonly number[];
}

function encoded(
  tokenizer: TextTokenizer,
  text: string,
  pair: string | undefined,
  { special, template }: { readonly special: boolean; readonly template: boolean },
): EncodedText {
  const [first, second] = [text, pair].map((one) =>
    one === undefined ? undefined : tokenizer.encode(one, { allowSpecial: special }),
  );
  if (!template && pair === undefined) return { text, ids: Array.from(first!) };
  const { ids, typeIds } = tokenizer.withSpecials(first!, second);
  return { text, ...(pair !== undefined && { pair }), ids: Array.from(ids), type_ids: Array.from(typeIds) };
}

async function encodeLines(
  from: string,
  to: string | undefined,
  template: boolean,
  encode: (text: string, pair?: string) => EncodedText,
): Promise<void> {
  const { readJsonLines, withLines } = await import('../jsonl.js');
  await withLines(to, async (write) => {
    for await (const { record, place } of readJsonLines(from)) {
      if (typeof record.text !== 'string')
        throw new TrainMoeError('bad-data', `${place}: the object has no string "text".`);
      const pair = template ? record.pair : undefined;
      if (pair !== undefined && typeof pair !== 'string')
        throw new TrainMoeError('bad-data', `${place}: "pair" is no string.`);
      await write(JSON.stringify(encode(record.text, pair)));
    }
  });
}
