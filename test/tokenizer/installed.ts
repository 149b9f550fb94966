import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const modules = fileURLToPath(new URL('../../node_modules', import.meta.url));

/** A path inside the installed packages: some of them carry vocabularies that no entry point exports. */
export function installed(path: string): string {
  return join(modules, path);
}
