import yargs, { type Argv, type CommandModule } from 'yargs';
import { suggest } from '../config/suggest.js';
import { TrainMoeError } from '../errors.js';
import { commands } from './commands/index.js';
import { endingOf } from './errors.js';
import { exitCodes } from './exit_codes.js';
import { readPackage } from './package.js';

/**
 * Runs one command line and returns its exit status. Errors become one sentence on standard error; nothing is thrown.
 */
export async function run(words: readonly string[], table: readonly CommandModule[] = commands): Promise<number> {
  try {
    await commandLine(words, table).parseAsync();
    return Number(process.exitCode ?? exitCodes.ok);
  } catch (error) {
    const { text, code } = endingOf(error);
    process.stderr.write(`${text}\n`);
    return code;
  }
}

function commandLine(words: readonly string[], table: readonly CommandModule[]): Argv {
  const parser = yargs([...words])
    .scriptName('train-moe')
    .usage('$0 <command>\n\nTrains DeepSeek-style language models on this machine.')
    // "train.steps" is the name of a setting, not a path into an object; its text is read by what the setting needs.
    .parserConfiguration({ 'dot-notation': false, 'parse-numbers': false, 'strip-aliased': true, 'strip-dashed': true })
    .detectLocale(false)
    .exitProcess(false)
    .strictCommands()
    .strictOptions()
    .recommendCommands()
    .version(readPackage()?.version ?? 'unknown')
    .alias('help', 'h')
    .epilogue('train-moe <command> --help tells its options. Exit codes and examples: README.md.')
    .fail((message, error, usage) => {
      throw message ? usageError(message, usage, words, table) : error;
    });
  for (const module of table) parser.command(module);
  if (!table.some((module) => namesOf(module).includes('$0'))) parser.demandCommand(1, 'No command was given.');
  return parser.wrap(Math.min(110, parser.terminalWidth()));
}

/** A sentence from yargs about the command line, with what was probably meant. */
function usageError(
  message: string,
  usage: unknown,
  words: readonly string[],
  table: readonly CommandModule[],
): TrainMoeError {
  const options = Object.keys((usage as { getDescriptions?(): object }).getDescriptions?.() ?? {});
  const unknown = /^Unknown arguments?: (.*)$/.exec(message)?.[1]?.split(', ') ?? [];
  const hints = unknown.flatMap((word) => {
    const meant = suggest(word, options);
    return meant ? [` Did you mean --${meant}?`] : [];
  });
  const known = new Set(table.flatMap(namesOf));
  const topics = words.filter((word) => known.has(word)).slice(0, 1);
  const stranger = words.find((word) => !word.startsWith('-') && !known.has(word));
  const recommended = message.startsWith('Did you mean') ? `There is no command "${stranger}". ` : '';
  const sentence = message.replace(/([^.?!])$/, '$1.').replaceAll('\n', ' ');
  const help = ['train-moe', ...topics, '--help'].join(' ');
  return new TrainMoeError('bad-argument', `${recommended}${sentence}${hints.join('')} See ${help}.`);
}

/** The words a command answers to, without its positional arguments; "$0" is the one that runs when none is named. */
function namesOf({ command, aliases }: CommandModule): string[] {
  return [command ?? [], aliases ?? []].flat().map((name) => name.split(' ')[0]!);
}
