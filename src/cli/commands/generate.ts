import { command, jsonOption } from '../command.js';
import { modelOptions, sampleFlags, sampleOptions } from '../model/options.js';
import { print, printJson } from '../output.js';

export const generate = command({
  builder: (parser) =>
    sampleOptions(modelOptions(parser))
      .positional('prompt', { type: 'string', default: '', describe: 'the text to go on from' })
      .option('count', {
        type: 'number',
        default: 1,
        requiresArg: true,
        describe: 'completions; they share the prompt',
      })
      .option('json', jsonOption),
  handler: async (args) => {
    const { openModel, openTokenizer } = await import('../model/open.js');
    const { generateTexts, promptIds, writeStream } = await import('../model/generate.js');
    const tokenizer = openTokenizer(args);
    const opened = openModel(args);
    const options = { ...sampleFlags(args), count: args.count };
    if (args.count === 1 && !args.json) {
      process.stdout.write(args.prompt);
      await writeStream(opened, tokenizer, promptIds(tokenizer, args.prompt), options, (text) =>
        process.stdout.write(text),
      );
      return print();
    }
    const results = generateTexts(opened, tokenizer, args.prompt, options);
    if (args.json) return printJson(results);
    for (const [i, { prompt, text }] of results.entries()) print(`--- ${i + 1} ---\n${prompt}${text}`);
  },
});
