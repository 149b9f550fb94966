import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtAddon, installPackage } from './installed.js';

/** What the public API does in and with threads, as an installation runs it: threads need compiled files. */

let folder: string;

/** Runs a program in the installation; its last line of output is JSON. */
function run(program: string): unknown {
  writeFileSync(join(folder, 'program.mjs'), `import * as api from 'train-moe';\n${program}`);
  const ran = spawnSync(process.execPath, ['program.mjs'], { cwd: folder, encoding: 'utf8', timeout: 100_000 });
  expect(ran).toMatchObject({ status: 0, stderr: '' });
  return JSON.parse(ran.stdout.trim().split('\n').at(-1)!);
}

const config = (out: string) => `api.defineConfig({
  preset: 'micro', data: { sources: ['texts/'] }, out: '${out}',
  tokenizer: { vocabSize: 320 }, train: { steps: 50, rows: 2, length: 32 }, evaluate: { every: 0 },
})`;

describe.skipIf(!builtAddon)('threads', () => {
  beforeAll(() => {
    folder = installPackage('threads');
    mkdirSync(join(folder, 'texts'));
    writeFileSync(join(folder, 'texts', 'a.txt'), 'Once upon a time there was a number. '.repeat(300));
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('a signal ends a run in a worker after the step it is in, and saves', () => {
    const ended = run(`
      const abort = new AbortController();
      let steps = 0;
      const stop = (event) => event.kind === 'step' && ++steps === 2 && abort.abort();
      const { step, stopped, checkpoint } = await api.pretrainInWorker(${config('stopped')}, stop, abort.signal);
      console.log(JSON.stringify([step < 50, stopped, checkpoint !== undefined]));
    `);
    expect(ended).toEqual([true, true, true]);
  }, 120_000);

  it('what a listener throws is what the run comes to, not the end of the process', () => {
    const thrown = run(`
      const listen = (event) => { if (event.kind === 'step') throw new Error('enough'); };
      const error = await api.pretrainInWorker(${config('thrown')}, listen).catch((error) => error);
      const again = await api.pretrain(${config('thrown')}, { shouldStop: () => true }); // nobody holds the folder
      console.log(JSON.stringify([error.message, again.stopped]));
    `);
    expect(thrown).toEqual(['enough', true]);
  }, 120_000);

  it('errors of a run in a worker are those of this package, with their code', () => {
    const error = run(`
      const missing = api.defineConfig({ preset: 'micro', data: { sources: ['nowhere/'] }, out: 'missing' });
      const error = await api.pretrainInWorker(missing, () => {}).catch((error) => error);
      console.log(JSON.stringify([error instanceof api.TrainMoeError, error.code, error.message]));
    `);
    expect(error).toEqual([true, 'not-found', expect.stringMatching(/^nowhere\/ does not exist/)]);
  }, 120_000);

  it('tensors of a thread that ends without releasing them go with it', () => {
    const [first, last] = run(`
      import { Worker } from 'node:worker_threads';
      const code = "import('train-moe').then((api) => api.zeros([1 << 24]))"; // 64 MB
      const resident = [];
      for (let i = 0; i < 12; i++) {
        const worker = new Worker(code, { eval: true });
        await new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject));
        resident.push(process.memoryUsage.rss() / 2 ** 20);
      }
      console.log(JSON.stringify([resident[3], resident.at(-1)]));
    `) as [number, number];
    expect(last - first).toBeLessThan(200); // of 8 * 64 MB
  }, 120_000);
});
