import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { FlagSet } from './schema.js';
import type { FlagSetName } from './sets.js';

/** What write.ts writes: beside this file once it is compiled, never beside its source. */
export const writtenFlags = fileURLToPath(new URL('flags.json', import.meta.url));

/** The flags of a command: as the build wrote them, which is fast, or from their schema where it has not. */
export async function flagsOf(name: FlagSetName): Promise<FlagSet> {
  return readWritten()?.[name] ?? (await (await import('./sets.js')).flagSets[name]());
}

function readWritten(): Record<FlagSetName, FlagSet> | undefined {
  try {
    return JSON.parse(readFileSync(writtenFlags, 'utf8'));
  } catch {
    return undefined;
  }
}
