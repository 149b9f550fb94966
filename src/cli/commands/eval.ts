import { formatPercent } from '../../terminal/format.js';
import { command, jsonOption } from '../command.js';
import { modelOptions } from '../model/options.js';
import { print, printJson } from '../output.js';

export const evaluate = command({
  builder: (parser) =>
    modelOptions(parser)
      .option('data', { type: 'string', array: true, demandOption: true, describe: 'files, folders and globs' })
      .option('field', { type: 'string', default: 'text', describe: 'the field that holds the text' })
      .option('tokenizer', { type: 'string', requiresArg: true, describe: "a tokenizer; by default the model's own" })
      .option('length', { type: 'number', default: 256, requiresArg: true, describe: 'tokens of a window' })
      .option('rows', { type: 'number', default: 8, requiresArg: true, describe: 'windows at once' })
      .option('windows', { type: 'number', default: 1_000_000, requiresArg: true, describe: 'windows at most' })
      .option('json', jsonOption),
  handler: async (args) => {
    const { runEvaluation } = await import('../model/evaluate.js');
    const { loss, bitsPerByte, tokens, relation } = await runEvaluation(args);
    if (args.json) return printJson({ loss, perplexity: Math.exp(loss), bitsPerByte, tokens, relation });
    print(
      `loss ${loss.toFixed(4)}  perplexity ${Math.exp(loss).toFixed(2)}${bitsPerByte === undefined ? '' : `  ${bitsPerByte.toFixed(4)} bits per byte`}  over ${tokens.toLocaleString('en-US')} tokens`,
    );
    if (relation)
      print(
        `pairs of texts: loss ${relation.loss.toFixed(4)}  ${formatPercent(relation.accuracy)} of ${relation.pairs.toLocaleString('en-US')} right`,
      );
  },
});
