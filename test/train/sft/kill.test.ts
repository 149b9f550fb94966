import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadTokenizer } from '../../../src/tokenizer/index.js';
import { compileProgram, programFolder } from '../run/compile.js';
import { tinyData, tinyFolder } from './tiny.js';

const KILLS = 4;

let folder: string;
let program: string;
let cli: string;
let model: string;
let data: string;

beforeAll(async () => {
  folder = programFolder('kill-sft');
  program = compileProgram('test/train/sft/run.program.ts', folder);
  cli = compileProgram('src/cli/index.ts', folder);
  model = await tinyFolder(join(folder, 'model'));
  data = tinyData(folder);
}, 600_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const exitOf = (child: ChildProcess) =>
  new Promise<[code: number | null, signal: string | null]>((resolve) =>
    child.on('exit', (code, signal) => resolve([code, signal])),
  );

const run = (out: string) =>
  spawn(process.execPath, [program, model, data, out], { stdio: ['ignore', 'pipe', 'inherit'] });

const stateOf = (out: string) =>
  ['model.safetensors', 'chat_template.jinja', 'trainer/sft.safetensors', 'trainer/sft.json'].map((file) =>
    readFileSync(join(out, 'checkpoints', 'latest', file)),
  );

describe('a run of supervised fine-tuning that is killed', () => {
  it(`ends, after up to ${KILLS} SIGKILLs, with the bits of one that was not`, async () => {
    const whole = join(folder, 'whole');
    expect(await exitOf(run(whole))).toEqual([0, null]);
    const killed = join(folder, 'killed');
    let kills = 0;
    for (; kills < KILLS; kills++) {
      const child = run(killed);
      const exit = exitOf(child);
      const kill = () => setTimeout(() => child.kill('SIGKILL'), (kills * 7) % 40);
      if (kills % 3 === 0)
        setTimeout(kill, 150 + 40 * kills); // while it starts
      else child.stdout!.once('data', kill); // soon after its first step
      const [code] = await exit;
      if (code === 0) break; // it was faster than the kill, or the run is over
    }
    expect(kills).toBeGreaterThan(1);
    expect(await exitOf(run(killed))).toEqual([0, null]);
    expect(stateOf(killed)).toEqual(stateOf(whole));
  }, 600_000);
});

describe('train-moe sft', () => {
  it('saves and ends with status 0 at the first SIGTERM', async () => {
    const out = join(folder, 'term');
    const flags = ['sft', '--model', model, '--data', data, '--out', out, '--length', '128', '--rows', '1'];
    const start = (...more: string[]) =>
      spawn(process.execPath, [cli, ...flags, '--stop-tokens', '<|endoftext|>', '--json', ...more], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    const child = start('--epochs', '2000');
    let seen = '';
    child.stderr!.on('data', (text) => {
      const begun = seen.includes('chat template: ');
      seen += text;
      if (!begun && seen.includes('chat template: ')) child.kill('SIGTERM');
    });
    let json = '';
    child.stdout!.on('data', (text) => {
      json += text;
    });
    expect(await exitOf(child)).toEqual([0, null]);
    expect(seen).toMatch(/chat template: the default template, in plain text/);
    const end = JSON.parse(json);
    expect([end.stopped, end.checkpoint.startsWith(out)]).toEqual([true, true]);
    expect(loadTokenizer(end.checkpoint).eosId).toBe(loadTokenizer(model).eosId);
  }, 240_000);

  it('names a wrong value', async () => {
    const child = spawn(process.execPath, [cli, 'sft', '--model', model, '--data', data, '--rows', 'many'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let seen = '';
    child.stderr!.on('data', (text) => {
      seen += text;
    });
    expect(await exitOf(child)).toEqual([2, null]);
    expect(seen).toMatch(/settings of SFT have a fault: rows = "many": .*expected number/);
  }, 240_000);
});

describe('train-moe chat', () => {
  it('answers every line of a pipe', async () => {
    const words = ['chat', '--model', model, '--max-tokens', '3', '--temperature', '0'];
    const child = spawn(process.execPath, [cli, ...words], { stdio: ['pipe', 'pipe', 'inherit'] });
    let seen = '';
    child.stdout!.on('data', (text) => {
      seen += text;
    });
    child.stdin!.end('say a\nsay b\n');
    expect(await exitOf(child)).toEqual([0, null]);
    expect(seen.match(/^> /gm)).toHaveLength(3); // two questions, and one for which no line was left
  }, 240_000);
});
