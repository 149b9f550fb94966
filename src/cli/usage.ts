import type { CommandModule } from 'yargs';
import { suggest } from '../config/suggest.js';
import { TrainMoeError } from '../errors.js';
import { namesOf } from './command.js';

/** That there is no such command, with the one that was probably meant. */
export function unknownCommand(word: string, table: readonly CommandModule[]): TrainMoeError {
  const meant = suggest(
    word,
    table.flatMap(namesOf).filter((name) => name !== '$0'),
  );
  const hint = meant ? ` Did you mean ${meant}?` : '';
  return new TrainMoeError('bad-argument', `There is no command "${word}".${hint} See train-moe --help.`);
}

/** An error as it was thrown, or, if it is what yargs finds wrong with the command line, a sentence about it. */
export function explained(error: unknown, words: readonly string[], table: readonly CommandModule[]): unknown {
  if (!(error instanceof Error) || error.name !== 'YError') return error;
  const { message, options = [] } = error as Error & { readonly options?: readonly string[] };
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
