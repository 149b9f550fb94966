import type { Argv } from 'yargs';
import type { FlagSetName } from './sets.js';
import { flagsOf } from './written.js';

/**
 * Declares the flags that come from a schema. `words` is the raw command line: below an open section (`model.*`) any flag
 * is taken, and the schema judges it.
 */
export async function declareFlags<T>(
  parser: Argv<T>,
  name: FlagSetName,
  words: readonly string[] = process.argv,
): Promise<Argv<T & Record<string, unknown>>> {
  for (const [flag, option] of Object.entries(await flagsOf(name))) {
    if (flag.endsWith('.*')) declareOpen(parser, flag.slice(0, -1), words);
    else parser.option(flag, option);
  }
  return parser as unknown as Argv<T & Record<string, unknown>>;
}

function declareOpen<T>(parser: Argv<T>, section: string, words: readonly string[]): void {
  for (const word of words)
    if (word.startsWith(`--${section}`)) parser.option(word.slice(2).split('=')[0]!, { type: 'string', hidden: true });
}
