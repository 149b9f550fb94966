import { TrainMoeError } from '../../errors.js';
import { command, jsonOption } from '../command.js';
import { print, printJson } from '../output.js';
import { jsonlOption, outOption, tokenizerOption } from './options.js';

export const decode = command({
  command: 'decode [ids..]',
  describe: 'ids to text; with --jsonl, every line {"ids"} to {"text","ids"}',
  builder: (parser) =>
    parser
      .positional('ids', { type: 'string', array: true, describe: 'the ids' })
      .option('tokenizer', tokenizerOption)
      .option('jsonl', jsonlOption)
      .option('out', outOption)
      .option('skip-special', { type: 'boolean', default: false, describe: 'leave special tokens out of the text' })
      .option('json', jsonOption),
  handler: async (args) => {
    const { openTokenizer } = await import('../../tokenizer/index.js');
    const tokenizer = openTokenizer(args.tokenizer);
    const textOf = (ids: readonly number[]): string => tokenizer.decode(ids, { skipSpecial: args.skipSpecial });
    if (args.jsonl !== undefined) return decodeLines(args.jsonl, args.out, tokenizer.vocabSize, textOf);
    const ids = idsIn((args.ids ?? []).map(numberIn), tokenizer.vocabSize, 'the command line');
    if (args.json) printJson({ text: textOf(ids), ids });
    else print(textOf(ids));
  },
});

/** A number written in digits; anything else stays as it is, to be named in the error. */
const numberIn = (word: string): number | string => (/^\d+$/.test(word) ? Number(word) : word);

async function decodeLines(
  from: string,
  to: string | undefined,
  vocabSize: number,
  textOf: (ids: readonly number[]) => string,
): Promise<void> {
  const { readJsonLines, withLines } = await import('../jsonl.js');
  await withLines(to, async (write) => {
    for await (const { record, place } of readJsonLines(from)) {
      const ids = idsIn(record.ids, vocabSize, place);
      await write(JSON.stringify({ text: textOf(ids), ids }));
    }
  });
}

function idsIn(value: unknown, vocabSize: number, place: string): readonly number[] {
  if (!Array.isArray(value)) throw new TrainMoeError('bad-data', `${place}: the object has no array "ids".`);
  const wrong = value.find((id) => !Number.isSafeInteger(id) || id < 0 || id >= vocabSize);
  if (wrong === undefined) return value;
  throw new TrainMoeError(
    'bad-data',
    `${place}: ${JSON.stringify(wrong)} is no id; ids go from 0 to ${vocabSize - 1}.`,
  );
}
