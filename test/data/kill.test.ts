import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { openTokens } from '../../src/data/index.js';
import { tempFolder } from './helpers.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The data floor as JavaScript that a plain child process can run, in a folder that sees node_modules. */
function compiled(): string {
  mkdirSync(path.join(root, 'build'), { recursive: true });
  const out = mkdtempSync(path.join(root, 'build', 'data-test-'));
  onTestFinished(() => rmSync(out, { recursive: true, force: true }));
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const flags = '--ignoreConfig --rootDir src --target ES2023 --module NodeNext --skipLibCheck --strict --types node';
  const { status, stdout } = spawnSync(
    process.execPath,
    [tsc, 'src/data/index.ts', '--outDir', out, ...flags.split(' ')],
    { cwd: root, encoding: 'utf8' },
  );
  expect([status, stdout]).toEqual([0, '']);
  return path.join(out, 'data', 'index.js');
}

test('tokenisation killed with SIGKILL again and again ends with the same shards', async () => {
  const index = compiled();
  const lines = Array.from({ length: 250 }, (_, i) => JSON.stringify({ text: `document ${i} ${'y'.repeat(i % 23)}` }));
  const corpus = path.join(tempFolder({ 'a.jsonl': lines.join('\n') }), 'a.jsonl');
  const child = fileURLToPath(new URL('kill_child.mjs', import.meta.url));
  const start = (cacheDir: string) =>
    spawn(process.execPath, [child, index, corpus, cacheDir], { stdio: ['ignore', 'pipe', 'inherit'] });

  const whole = tempFolder();
  const [code] = await once(start(whole), 'exit');
  expect(code).toBe(0);

  const broken = tempFolder();
  let kills = 0;
  for (;;) {
    const run = start(broken);
    const exit = once(run, 'exit');
    await Promise.race([once(run.stdout, 'data'), exit]);
    await Promise.race([delay(20 + ((kills * 67) % 180) + 20 * kills), exit]);
    run.kill('SIGKILL');
    const [exitCode, signal] = await exit;
    if (signal === null) {
      expect(exitCode).toBe(0);
      break;
    }
    kills++;
    // Each run must get further, or this would never end.
    expect(kills).toBeLessThan(60);
  }
  expect(kills).toBeGreaterThan(1);

  const [key] = readdirSync(whole);
  expect(readdirSync(broken)).toEqual([key]);
  const names = readdirSync(path.join(whole, key!)).sort();
  expect(readdirSync(path.join(broken, key!)).sort()).toEqual(names);
  for (const name of names) {
    const [a, b] = [whole, broken].map((folder) => readFileSync(path.join(folder, key!, name)));
    expect([name, a!.equals(b!)]).toEqual([name, true]);
  }
  openTokens(path.join(broken, key!), { verify: true });
}, 240_000);
