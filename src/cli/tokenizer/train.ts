import { TrainMoeError } from '../../errors.js';
import { command, jsonOption } from '../command.js';
import { print, printJson } from '../output.js';

/** The names of `PATTERNS`, which is too heavy to load for a help text; the types hold the two together. */
const patterns = ['deepseek-v3', 'gpt2', 'cl100k', 'o200k', 'llama3', 'qwen2'] as const;

export const train = command({
  command: 'train [sources..]',
  describe: 'learn a byte-level BPE vocabulary from text and write it as tokenizer.json',
  builder: (parser) =>
    parser
      .positional('sources', {
        type: 'string',
        array: true,
        describe: 'files, folders, globs; none takes real text that is already on the machine',
      })
      .option('vocab-size', {
        type: 'number',
        alias: 'vocab',
        default: 32_768,
        requiresArg: true,
        describe: 'tokens in all, special ones included',
      })
      .option('out', { type: 'string', default: 'tokenizer.json', requiresArg: true, describe: 'the file to write' })
      .option('pattern', { choices: patterns, default: patterns[0], describe: 'how text is cut before merging' })
      .option('special', {
        type: 'array',
        string: true,
        describe: "special tokens, in the order of their ids; by default DeepSeek-V3's names",
      })
      .option('field', { type: 'string', default: 'text', describe: 'the field that holds the text' })
      .option('min-frequency', {
        type: 'number',
        default: 2,
        requiresArg: true,
        describe: 'pairs that occur less often are not merged',
      })
      .option('bytes', { type: 'number', requiresArg: true, describe: 'stop reading after this much text' })
      .option('memory', { type: 'number', requiresArg: true, describe: 'GiB that counting may hold' })
      .option('threads', { type: 'number', requiresArg: true, describe: 'threads that count' })
      .option('json', jsonOption),
  handler: async (args) => {
    for (const name of ['bytes', 'memory'] as const) {
      const value = args[name];
      if (value !== undefined && !(value > 0))
        throw new TrainMoeError('bad-argument', `--${name} is ${value}; give more than 0.`);
    }
    const { learnVocabulary } = await import('./learn.js');
    const summary = await learnVocabulary({ ...args, sources: args.sources ?? [] });
    if (args.json) printJson(summary);
    else {
      if (summary.note) print(summary.note);
      const { tokens, bytes, seconds, out } = summary;
      print(`${tokens} tokens from ${(bytes / 1e6).toFixed(1)} MB in ${seconds.toFixed(1)} s, written to ${out}`);
    }
  },
});
