import { TrainMoeError } from '../../errors.js';
import { command, jsonOption } from '../command.js';
import { print, printJson } from '../output.js';

export const collect = command({
  builder: (parser) =>
    parser
      .positional('sources', {
        type: 'string',
        array: true,
        describe: 'files, folders, globs; none takes real text that is already on the machine',
      })
      .option('field', { type: 'string', default: 'text', describe: 'the field that holds the text' })
      .option('out', { type: 'string', requiresArg: true, describe: 'write {"text","source","offset"} lines here' })
      .option('tokenizer', { type: 'string', requiresArg: true, describe: 'write token shards made with this one' })
      .option('cache', { type: 'string', requiresArg: true, describe: 'the folder for token shards' })
      .option('validation', { type: 'number', default: 0.01, describe: 'fraction held out for validation' })
      .option('test', { type: 'number', default: 0, describe: 'fraction held out for testing' })
      .option('dedup', { type: 'boolean', default: true, describe: 'drop exact duplicates; --no-dedup keeps them' })
      .option('skip-bad', {
        type: 'boolean',
        default: false,
        describe: 'leave out files and records that cannot be used, and list them, instead of stopping',
      })
      .option('json', jsonOption)
      .implies({ tokenizer: 'cache', cache: 'tokenizer' })
      .conflicts('out', 'tokenizer'),
  handler: async (args) => {
    if (Number.isNaN(args.validation + args.test))
      throw new TrainMoeError('bad-argument', '--validation and --test take a number between 0 and 1.');
    const { runCollect, summaryLines } = await import('../collect.js');
    const summary = await runCollect({ ...args, sources: args.sources ?? [] });
    if (args.json) printJson(summary);
    else for (const line of summaryLines(summary)) print(line);
  },
});
