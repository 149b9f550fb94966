import type { Argv, CommandModule } from 'yargs';
import { suggest } from '../config/suggest.js';
import { TrainMoeError } from '../errors.js';
import { commands } from './commands/index.js';
import { endingOf } from './errors.js';
import { exitCodes } from './exit_codes.js';
import { print } from './output.js';
import { readPackage } from './package.js';

/**
 * Runs one command line and returns its exit status. Errors become one sentence on standard error; nothing is thrown.
 */
export async function run(words: readonly string[], table: readonly CommandModule[] = commands): Promise<number> {
  try {
    if (words.length === 1 && words[0] === '--version') {
      print(version());
      return exitCodes.ok;
    }
    refuseUnknownCommand(words, table);
    await (await commandLine(words, table)).parseAsync();
    return Number(process.exitCode ?? exitCodes.ok);
  } catch (error) {
    const { text, code } = endingOf(isOfYargs(error) ? usageError(error.message, {}, words, table) : error);
    process.stderr.write(`${text}\n`);
    return code;
  }
}

const version = (): string => readPackage()?.version ?? 'unknown';

async function commandLine(words: readonly string[], table: readonly CommandModule[]): Promise<Argv> {
  const { default: yargs } = await import('yargs'); // half of the time of the start, and not needed for all
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
    .version(version())
    .alias('help', 'h')
    .epilogue('train-moe <command> --help tells its options. README.md has examples and the exit codes.')
    .fail((message, error, usage) => {
      throw message ? usageError(message, usage, words, table) : error;
    });
  const explain =
    words.every((word) => word.startsWith('-')) && words.some((word) => ['--help', '-h', '--version'].includes(word));
  for (const module of table) parser.command(isDefault(module) ? withoutWords(module, explain) : module);
  if (!table.some(isDefault)) parser.demandCommand(1, 'No command was given.');
  return parser.wrap(Math.min(110, parser.terminalWidth()));
}

/** True for the command that runs when none is named. */
function isDefault(module: CommandModule): boolean {
  return namesOf(module).includes('$0');
}

/**
 * The default command, which takes options but no words: to yargs any word would be an argument of it. For the list of
 * commands and the version (`explain`) it is shown without its options, which are many and slow to load.
 */
function withoutWords(module: CommandModule, explain: boolean): CommandModule {
  const { builder = (parser: Argv) => parser } = module;
  if (explain || typeof builder !== 'function') return { ...module, builder: {} };
  return { ...module, builder: async (parser: Argv) => (await builder(parser)).demandCommand(0, 0) };
}

/** yargs gives a first word that is no command to the default command; here it is a mistake. */
function refuseUnknownCommand([first]: readonly string[], table: readonly CommandModule[]): void {
  const known = table.flatMap(namesOf).filter((name) => name !== '$0');
  if (first === undefined || first.startsWith('-') || known.includes(first)) return;
  const meant = suggest(first, known);
  const hint = meant ? ` Did you mean ${meant}?` : '';
  throw new TrainMoeError('bad-argument', `There is no command "${first}".${hint} See train-moe --help.`);
}

/** What yargs finds wrong after an asynchronous builder it throws, past the handler given to `fail`. */
function isOfYargs(error: unknown): error is Error {
  return error instanceof Error && error.name === 'YError';
}

/** A sentence from yargs about the command line, with what was probably meant. */
function usageError(
  message: string,
  usage: object,
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
