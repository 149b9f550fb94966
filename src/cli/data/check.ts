import { command, jsonOption } from '../command.js';
import { exitCodes } from '../exit_codes.js';
import { printJson } from '../output.js';

const FORMATS = ['messages', 'sharegpt', 'prompt-completion', 'self-instruct', 'alpaca'] as const;

export const check = command({
  command: 'check <file>',
  describe: 'format, counts, lengths, samples with what is trained, and the first bad line',
  builder: (parser) =>
    parser
      .positional('file', { type: 'string', demandOption: true, describe: '.jsonl .json (also .gz) or .parquet' })
      .option('model', {
        type: 'string',
        requiresArg: true,
        describe: 'a model whose tokenizer and chat template are used; without one, characters are counted',
      })
      .option('tokenizer', { type: 'string', requiresArg: true, describe: 'a tokenizer instead of a model' })
      .option('template', { type: 'string', requiresArg: true, describe: 'a chat template (Jinja file or text)' })
      .option('stop-tokens', { type: 'string', array: true, describe: 'tokens that end an answer' })
      .option('format', { choices: FORMATS, describe: 'format of the records; by default what the first looks like' })
      .option('prompt-as', { choices: ['text', 'user'] as const, default: 'text' as const, describe: 'as in sft' })
      .option('turns', { choices: ['all', 'last'] as const, default: 'all' as const, describe: 'as in sft' })
      .option('samples', { type: 'number', default: 3, requiresArg: true, describe: 'samples shown' })
      .option('json', jsonOption),
  handler: async (args) => {
    const { checkConversations } = await import('../../data/index.js');
    const { checkLines, templateFor } = await import('./report.js');
    const template = await templateFor(args);
    const { format, promptAs, turns, samples } = args;
    const result = await checkConversations(args.file, { template, format, promptAs, turns, samples });
    if (args.json) printJson(result);
    else for (const line of checkLines(result, template, process.stdout)) process.stdout.write(`${line}\n`);
    if (result.bad > 0 || result.conversations === 0) process.exitCode = exitCodes.badData;
  },
});
