import { vi } from 'vitest';
import type { CommandModule } from 'yargs';
import { run } from '../../src/cli/run.js';

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command line in this process and catches what it prints. */
export async function commandLine(words: readonly string[], table?: readonly CommandModule[]): Promise<Outcome> {
  const caught = { out: '', err: '' };
  const catchInto = (name: 'out' | 'err') =>
    ((text: string | Uint8Array, done?: () => void) => {
      caught[name] += text;
      done?.();
      return true;
    }) as typeof process.stdout.write;
  const spies = [
    vi.spyOn(process.stdout, 'write').mockImplementation(catchInto('out')),
    vi.spyOn(process.stderr, 'write').mockImplementation(catchInto('err')),
    vi.spyOn(console, 'log').mockImplementation((text: string) => {
      caught.out += `${text}\n`; // yargs prints its help here
    }),
  ];
  try {
    const code = await run(words, table);
    return { code, ...caught };
  } finally {
    process.exitCode = undefined;
    for (const spy of spies) spy.mockRestore();
  }
}
