import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The rewards as JavaScript in a folder that sees node_modules, since graders are processes of plain Node. */
export async function compiledRewards(): Promise<
  typeof import('../../src/rl/rewards/index.js') & { readonly remove: () => void }
> {
  mkdirSync(path.join(root, 'build'), { recursive: true });
  const out = mkdtempSync(path.join(root, 'build', 'rl-test-'));
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const files = ['src/rl/rewards/index.ts', 'src/rl/rewards/graders/worker.ts'];
  const flags = '--ignoreConfig --rootDir src --target ES2023 --module NodeNext --skipLibCheck --strict --types node';
  const { status, stdout } = spawnSync(process.execPath, [tsc, ...files, '--outDir', out, ...flags.split(' ')], {
    cwd: root,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stdout);
  const index = await import(pathToFileURL(path.join(out, 'rl', 'rewards', 'index.js')).href);
  return { ...index, remove: () => rmSync(out, { recursive: true, force: true }) };
}
