import type { Argv } from 'yargs';
import { flagOf } from '../config/flag_name.js';
import { TrainMoeError } from '../errors.js';

/** The options of the command that is run, as yargs keeps them: names as declared, with dashes. */
interface Declared {
  readonly array: readonly string[];
  readonly number: readonly string[];
  readonly key: Readonly<Record<string, unknown>>;
}

const declaredBy = (parser: Argv): Declared => (parser as unknown as { getOptions(): Declared }).getOptions();

const camel = (name: string): string => name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());

/**
 * What is given twice counts as given the second time, unless it takes several values, and a number must be one.
 * @throws TrainMoeError `bad-argument` naming the flag
 */
export function readOnce(argv: Record<string, unknown>, parser: Argv): void {
  const { array, number } = declaredBy(parser);
  const several = new Set(['_', ...array.map(camel)]);
  for (const [name, value] of Object.entries(argv))
    if (Array.isArray(value) && !several.has(name)) argv[name] = value.at(-1);
  for (const name of number)
    if (Number.isNaN(argv[camel(name)])) throw new TrainMoeError('bad-argument', `--${name} takes a number.`);
}

/** The words for the settings of a command that are written otherwise as flags: `maxTokens` for `--max-tokens`. */
export const settingsOf = (parser: Argv): string[] =>
  Object.keys(declaredBy(parser).key)
    .filter((name) => name.includes('-'))
    .map(camel);

/** An error whose sentence calls those settings as they are written on the command line. */
export function inFlags(error: unknown, settings: readonly string[]): unknown {
  if (!(error instanceof TrainMoeError)) return error;
  const known = new Set(settings);
  const message = error.message.replace(/(?<![\w./"'-])[a-z]+(?:[A-Z][a-z0-9]*)+(?![\w/"'])/g, (word) =>
    known.has(word) ? flagOf(word) : word,
  );
  return message === error.message ? error : new TrainMoeError(error.code, message, { cause: error });
}
