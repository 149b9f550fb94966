import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileProgram, programFolder } from './run/compile.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const KILLS = 100;
const STEPS = 120;
const SEED = 20261124;

let folder: string;
let program: string;
let cli: string;

beforeAll(() => {
  folder = programFolder('kill');
  program = compileProgram('test/train/run.program.ts', folder);
  cli = compileProgram('src/cli/index.ts', folder);
  symlinkSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  symlinkSync(join(root, 'native'), join(folder, 'native'));
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const exitOf = (child: ChildProcess) =>
  new Promise<[code: number | null, signal: string | null]>((resolve) =>
    child.on('exit', (code, signal) => resolve([code, signal])),
  );

/** A generator whose seed is printed when the test fails, so that a failure can be had again. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const run = (out: string) =>
  spawn(process.execPath, [program, out, String(STEPS)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TRAIN_MOE_THREADS: '1' },
  });

const stateOf = (out: string) => {
  const latest = join(out, 'checkpoints', 'latest');
  return ['model.safetensors', 'trainer/state.safetensors', 'trainer/state.json'].map((file) =>
    readFileSync(join(latest, file)),
  );
};

describe('a run that is killed', () => {
  it(`ends, after ${KILLS} SIGKILLs at random moments, with the bits of one that was not (seed ${SEED})`, async () => {
    const whole = join(folder, 'whole');
    expect(await exitOf(run(whole))).toEqual([0, null]);
    const killed = join(folder, 'killed');
    const next = random(SEED);
    let kills = 0;
    while (kills < KILLS) {
      const child = run(killed);
      const exit = exitOf(child);
      // A third die while starting; the others soon after they resumed: in a step, or while a checkpoint is written.
      const early = next() < 0.33;
      const delay = early ? next() * 250 : next() * 40;
      const kill = () => setTimeout(() => child.kill('SIGKILL'), delay);
      if (early) kill();
      else child.stdout!.once('data', kill);
      const resumed = setTimeout(() => child.kill('SIGKILL'), 500 + delay); // 'first' is only printed by step 1
      const [code] = await exit;
      clearTimeout(resumed);
      if (code === null) kills++;
      else expect(code).toBe(0); // it was faster than the kill, or the run is over
      if (code === 0) break;
    }
    expect(kills, 'kills before the run was over').toBeGreaterThanOrEqual(KILLS);
    expect(await exitOf(run(killed))).toEqual([0, null]);
    expect(stateOf(killed)).toEqual(stateOf(whole));
  }, 300_000);
});

describe('a run in the terminal', () => {
  const pretrain = (out: string, ...flags: string[]) =>
    spawn(
      process.execPath,
      [
        cli,
        'pretrain',
        '--preset',
        'micro',
        '--device',
        'cpu',
        '--data',
        join(root, 'LICENSE'),
        '--data.validation',
        '0',
        '--tokenizer.vocabSize',
        '300',
        '--train.length',
        '32',
        '--train.rows',
        '2',
        '--evaluate.every',
        '0',
        '--out',
        out,
        ...flags,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
  const seen = (child: ChildProcess, text: string) =>
    new Promise<void>((resolve) => {
      let all = '';
      child.stdout!.on('data', (chunk) => {
        all += chunk;
        if (all.includes(text)) resolve();
      });
    });

  it('saves and ends with status 0 at the first SIGTERM', async () => {
    const out = join(folder, 'term');
    const child = pretrain(out, '--steps', '100000', '--log.every', '1');
    const exit = exitOf(child);
    await seen(child, 'step 3/');
    child.kill('SIGTERM');
    expect(await exit).toEqual([0, null]);
    expect(readdirSync(join(out, 'checkpoints')).filter((f) => f.startsWith('step-')).length).toBe(1);
  }, 60_000);

  it('ends at once, with status 130, at the second SIGINT', async () => {
    const out = join(folder, 'int');
    const child = pretrain(
      out,
      '--steps',
      '100000',
      '--log.every',
      '1',
      '--train.rows',
      '512',
      '--train.length',
      '512',
    );
    const exit = exitOf(child);
    await seen(child, 'run folder');
    child.kill('SIGINT');
    await seen(child, 'Saving after this step');
    child.kill('SIGINT');
    expect(await exit).toEqual([130, null]);
    expect(existsSync(join(out, 'checkpoints'))).toBe(false);
  }, 60_000);
});
