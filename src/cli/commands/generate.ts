import { fstatSync } from 'node:fs';
import { text as readAll } from 'node:stream/consumers';
import { command, jsonOption } from '../command.js';
import { modelOptions, sampleFlags, sampleOptions } from '../model/options.js';
import { print, printJson } from '../output.js';

export const generate = command({
  builder: (parser) =>
    sampleOptions(modelOptions(parser))
      .positional('prompt', { type: 'string', describe: 'the text to go on from; without it, what is piped in' })
      .option('count', {
        type: 'number',
        default: 1,
        requiresArg: true,
        describe: 'completions; they share the prompt',
      })
      .option('json', jsonOption),
  handler: async (args) => {
    const { openModel, openTokenizer, refuseLarger } = await import('../model/open.js');
    const { generateTexts, writeStream } = await import('../model/generate.js');
    const tokenizer = openTokenizer(args);
    const opened = openModel(args);
    refuseLarger(tokenizer, opened.model, args);
    const options = { ...sampleFlags(args), count: args.count };
    const prompt = args.prompt ?? (await pipedIn());
    if (args.count === 1 && !args.json) {
      const write = (text: string) => void process.stdout.write(text);
      await writeStream(opened, tokenizer, prompt, options, write);
      return print();
    }
    const results = generateTexts(opened, tokenizer, prompt, options);
    if (args.json) return printJson(results);
    for (const [i, { text }] of results.entries()) print(`--- ${i + 1} ---\n${prompt}${text}`);
  },
});

/** Standard input where it is a file or another program's output; a terminal and /dev/null are not waited for. */
async function pipedIn(): Promise<string> {
  const input = fstatSync(0);
  return input.isFile() || input.isFIFO() || input.isSocket() ? readAll(process.stdin) : '';
}
