import type { CommandModule } from 'yargs';

/**
 * A command of `train-moe`: one file that exports one of these, and its line in commands/index.ts. The file itself loads
 * nothing heavy; the handler imports what it runs (`await import(...)`), so that the start stays fast.
 */
export function command<Args>(module: CommandModule<object, Args>): CommandModule {
  return module as unknown as CommandModule; // yargs keeps commands of different arguments in one list
}

/** `--json` of every command that reports figures: one JSON document on standard output, nothing else. */
export const jsonOption = { type: 'boolean', default: false, describe: 'print JSON' } as const;
