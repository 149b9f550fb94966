import { createRequire } from 'node:module';
import type { Argv, CommandModule } from 'yargs';
import { namesOf } from './command.js';
import { commands } from './commands/index.js';
import { exitCodes } from './exit_codes.js';
import { inFlags, readOnce, settingsOf } from './given.js';
import { print } from './output.js';
import { readPackage } from './package.js';

// What every start waits for is imported above; the rest, the words for mistakes too, where it is needed.

/**
 * Runs one command line and returns its exit status. Errors become one sentence on standard error; nothing is thrown.
 */
export async function run(words: readonly string[], table: readonly CommandModule[] = commands): Promise<number> {
  let settings: readonly string[] = [];
  try {
    if (words.length === 1 && words[0] === '--version') {
      print(version());
      return exitCodes.ok;
    }
    if (startsUnknown(words, table)) throw (await import('./usage.js')).unknownCommand(words[0]!, table);
    const parser = commandLine(words, table);
    const read = (argv: Record<string, unknown>) => {
      settings = settingsOf(parser);
      readOnce(argv, parser);
    };
    await parser.middleware(read, true).parseAsync();
    return Number(process.exitCode ?? exitCodes.ok);
  } catch (error) {
    const [{ endingOf }, { explained }] = await Promise.all([import('./errors.js'), import('./usage.js')]);
    const { text, code } = endingOf(inFlags(explained(error, words, table), settings));
    process.stderr.write(`${text}\n`);
    return code;
  }
}

const version = (): string => readPackage()?.version ?? 'unknown';

/** yargs, half of the time of a start: its CommonJS build is one file, the other one thirty. */
function loadYargs(): typeof import('yargs').default {
  return createRequire(import.meta.url)('yargs/yargs');
}

function commandLine(words: readonly string[], table: readonly CommandModule[]): Argv {
  const yargs = loadYargs();
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
      throw message ? misuse(message, usage) : error;
    });
  const explain =
    words.every((word) => word.startsWith('-')) && words.some((word) => ['--help', '-h', '--version'].includes(word));
  for (const module of table) parser.command(isDefault(module) ? withoutWords(module, explain) : module);
  if (!table.some(isDefault)) parser.demandCommand(1, 'No command was given.');
  return parser.wrap(Math.min(110, parser.terminalWidth()));
}

/** What yargs finds wrong, as it throws that itself after an asynchronous builder, with the options that there are. */
function misuse(message: string, usage: object): Error {
  const { getDescriptions } = usage as { getDescriptions?(): object };
  return Object.assign(new Error(message), { name: 'YError', options: Object.keys(getDescriptions?.() ?? {}) });
}

/** yargs gives a first word that is no command to the default command; here it is a mistake. */
function startsUnknown([first]: readonly string[], table: readonly CommandModule[]): boolean {
  if (first === undefined || first.startsWith('-')) return false;
  return first === '$0' || !table.flatMap(namesOf).includes(first);
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
