import { text as readAll } from 'node:stream/consumers';
import { TrainMoeError } from '../../errors.js';
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
      .option('json', jsonOption)
      .conflicts('jsonl', 'text'),
  handler: async (args) => {
    const { loadTokenizer } = await import('../../tokenizer/index.js');
    const tokenizer = loadTokenizer(args.tokenizer);
    const idsOf = (text: string): number[] => Array.from(tokenizer.encode(text, { allowSpecial: args.special }));
    if (args.jsonl !== undefined) return encodeLines(args.jsonl, args.out, idsOf);
    const text = args.text ?? (await readAll(process.stdin));
    const ids = idsOf(text);
    if (args.json) printJson({ text, ids });
    else print(ids.join(' '));
  },
});

async function encodeLines(from: string, to: string | undefined, idsOf: (text: string) => number[]): Promise<void> {
  const { readJsonLines, withLines } = await import('../jsonl.js');
  await withLines(to, async (write) => {
    for await (const { record, place } of readJsonLines(from)) {
      if (typeof record.text !== 'string')
        throw new TrainMoeError('bad-data', `${place}: the object has no string "text".`);
      await write(JSON.stringify({ text: record.text, ids: idsOf(record.text) }));
    }
  });
}
