import type { Argv, CommandModule } from 'yargs';

/**
 * A command of `train-moe`: one file that exports one of these, and its line in commands/index.ts. The file itself loads
 * nothing heavy; the handler imports what it runs (`await import(...)`), so that its help stays fast.
 */
export function command<Args>(module: CommandModule<object, Args>): CommandModule {
  return module as unknown as CommandModule; // yargs keeps commands of different arguments in one list
}

/** A command by its words and its line of help alone; the file that says the rest is loaded once it is called. */
export function lazy(words: string, describe: string, load: () => Promise<CommandModule>): CommandModule {
  return {
    command: words,
    describe,
    builder: async (parser: Argv) => {
      const { builder } = await load();
      return typeof builder === 'function' ? builder(parser) : parser;
    },
    handler: async (args) => (await load()).handler(args),
  };
}

/** `--json` of every command that reports figures: one JSON document on standard output, nothing else. */
export const jsonOption = { type: 'boolean', default: false, describe: 'print JSON' } as const;

/** The words a command answers to, without its positional arguments; "$0" is the one that runs when none is named. */
export function namesOf({ command, aliases }: CommandModule): string[] {
  return [command ?? [], aliases ?? []].flat().map((name) => name.split(' ')[0]!);
}
