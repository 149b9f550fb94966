import { command, jsonOption } from '../command.js';
import { modelOptions } from '../model/options.js';
import { print, printJson, printTable } from '../output.js';

export const fill = command({
  builder: (parser) =>
    modelOptions(parser)
      .positional('text', {
        type: 'string',
        demandOption: true,
        describe: 'a text with the mask of the model, such as <mask> or [MASK], where words are to be filled in',
      })
      .option('tokenizer', { type: 'string', requiresArg: true, describe: "a tokenizer; by default the model's own" })
      .option('top', { type: 'number', default: 5, requiresArg: true, describe: 'words for each mask' })
      .option('json', jsonOption),
  handler: async (args) => {
    const { fillText } = await import('../model/fill.js');
    const masks = fillText(args);
    if (args.json) return printJson(masks);
    for (const [i, words] of masks.entries()) {
      if (masks.length > 1) print(`mask ${i + 1}`);
      printTable(words.map(({ text, probability }) => [text, `${(100 * probability).toFixed(1)} %`]));
    }
  },
});
