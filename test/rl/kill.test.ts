import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileProgram, programFolder } from '../train/run/compile.js';
import { writeTinyModel } from './tiny.js';

const KILLS = Number(process.env.KILLS ?? 8);
const SEED = 20_261_126;

let folder: string;
let program: string;
beforeAll(async () => {
  folder = programFolder('rl-kill');
  program = compileProgram('test/rl/run.program.ts', folder);
  await writeTinyModel(join(folder, 'model'));
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const start = (what: string, out: string): ChildProcess =>
  spawn(process.execPath, [program, what, join(folder, 'model'), join(folder, out)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });

const exitOf = (child: ChildProcess) => new Promise<number | null>((resolve) => child.on('exit', resolve));

/** A generator whose seed is in the test's name, so that a failure can be had again. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const checkpoint = ['model.safetensors', 'trainer/grpo.safetensors', 'trainer/grpo.json'];
const cases = [
  ['grpo', [...checkpoint.map((file) => join('checkpoints', 'latest', file)), 'completions/step-00000060.jsonl']],
  ['reject', ['data.jsonl', 'state.jsonl']],
] as const;

describe.each(cases)('%s', (what, files) => {
  const bytesOf = (out: string) => files.map((file) => readFileSync(join(folder, out, file)));

  it(`ends, after ${KILLS} SIGKILLs at random moments, with the bytes of a run that was not killed (seed ${SEED})`, {
    timeout: 120_000 + 20_000 * KILLS,
  }, async () => {
    const whole = start(what, `${what}-whole`);
    expect(await exitOf(whole)).toBe(0);
    const next = random(SEED);
    let kills = 0;
    for (let code: number | null = null; code === null && kills < KILLS; ) {
      const child = start(what, `${what}-killed`);
      const exit = exitOf(child);
      // Soon after it went on: while it samples, updates, or writes.
      const delay = next() * 120;
      child.stdout!.once('data', () => setTimeout(() => child.kill('SIGKILL'), delay));
      code = await exit;
      if (code === null) kills++;
      else expect(code).toBe(0);
    }
    expect(kills, 'kills before the run was over').toBeGreaterThan(2);
    expect(await exitOf(start(what, `${what}-killed`))).toBe(0);
    expect(bytesOf(`${what}-killed`)).toEqual(bytesOf(`${what}-whole`));
    expect(bytesOf(`${what}-whole`).every((bytes) => bytes.length > 10)).toBe(true);
  });
});
