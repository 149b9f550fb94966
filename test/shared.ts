import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'shared');

/** The absolute path of a shared fixture, or undefined where the fixtures are not laid out beside the project. */
export function sharedPath(relative: string): string | undefined {
  const path = join(root, relative);
  return existsSync(path) ? path : undefined;
}
