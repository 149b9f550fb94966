import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The package's root folder, found without loading the addon. */
export const packageRoot = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** package.json at the root, or undefined when it is not ours: somebody bundled or moved the code. */
export function readPackage(root = packageRoot): { readonly name: string; readonly version: string } | undefined {
  try {
    const found = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { name: string; version: string };
    return found.name === 'train-moe' ? found : undefined;
  } catch {
    return undefined;
  }
}
