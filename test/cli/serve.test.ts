import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serveView } from '../../src/cli/serve/run.js';
import type { ServeFacts } from '../../src/serve/index.js';
import { installPackage } from '../package/installed.js';
import { writeTinyModel } from '../rl/tiny.js';

const model = mkdtempSync(join(tmpdir(), 'train-moe-cli-serve-'));
let installed = '';
beforeAll(async () => {
  installed = installPackage('serve');
  await writeTinyModel(model);
});
afterAll(() => {
  for (const folder of [model, installed]) rmSync(folder, { recursive: true, force: true });
});

describe('train-moe serve', () => {
  it('says where it listens, answers who brings the key, and ends what runs at Ctrl-C', async () => {
    const words = ['serve', '--model', model, '--device', 'cpu', '--port', '0', '--name', 'tiny'];
    const child = spawn(process.execPath, [join(installed, 'dist', 'cli', 'index.js'), ...words], {
      env: { ...process.env, TRAIN_MOE_API_KEY: 'secret' },
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
    const found = async (pattern: RegExp): Promise<string> => {
      for (;;) {
        const match = pattern.exec(said);
        if (match) return match[1]!;
        if (child.exitCode !== null) throw new Error(said);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    };
    const url = await found(/tiny answers at (http:\S+)\/v1; Ctrl-C ends it/);
    const ask = (maxTokens: number, key: string) =>
      fetch(`${url}/v1/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
        body: JSON.stringify({ prompt: 'one', max_tokens: maxTokens, temperature: 0 }),
      });
    expect((await ask(2, 'wrong')).status).toBe(401);
    const running = ask(500, 'secret');
    const requests = async () => ((await (await fetch(`${url}/health`)).json()) as { requests: number }).requests;
    while ((await requests()) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill('SIGINT');
    expect(((await (await running).json()) as { usage: object }).usage).toMatchObject({ completion_tokens: 500 });
    expect(await ended).toBe(0);
    expect(said).toMatch(/Ending 1 request first; press Ctrl-C again to end at once\./);
    expect(said).toMatch(/POST \/v1\/completions 200 .* 3 \+ 500 tokens, [\d.]+ tok\/s/);
  });

  it('warns of an address that anyone reaches', () => {
    const shown = (facts: Partial<ServeFacts>) => {
      let text = '';
      serveView({ write: (line) => (text += line) })({ kind: 'listening', facts: facts as ServeFacts });
      return text;
    };
    expect(shown({ url: 'http://0.0.0.0:80', open: true })).toContain('Anyone who reaches this address may ask');
    expect(shown({ url: 'http://0.0.0.0:80', open: false })).not.toContain('Anyone');
    expect(shown({ url: 'http://127.0.0.1:80', open: true })).not.toContain('Anyone');
  });
});
