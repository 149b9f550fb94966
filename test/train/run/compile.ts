import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/**
 * A new folder for compiled programs, below the project, so that they find node_modules; of the project's root they see `links`, and
 * the addon is in `build`.
 */
export function programFolder(name: string, links: readonly string[] = ['build']): string {
  const folder = mkdtempSync(join(root, 'build', `${name}-`));
  for (const link of links) symlinkSync(join(root, link), join(folder, link));
  return folder;
}

/**
 * Compiles one of our programs, with all it imports, to plain JavaScript, for tests that need other processes: those
 * run without the test runner, which would translate it for them. Returns the path of the program.
 */
export function compileProgram(source: string, outDir: string): string {
  mkdirSync(outDir, { recursive: true });
  const config = {
    extends: join(root, 'tsconfig.json'),
    compilerOptions: { noEmit: false, outDir, rootDir: root, typeRoots: [join(root, 'node_modules/@types')] },
    include: [],
    files: [join(root, source)],
  };
  writeFileSync(join(outDir, 'tsconfig.json'), JSON.stringify(config));
  writeFileSync(join(outDir, 'package.json'), '{"type": "module"}');
  execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', outDir], { stdio: 'pipe' });
  return join(outDir, source.replace(/\.ts$/, '.js'));
}
