import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RewardResult } from '../../../src/rl/rewards/index.js';
import { compiledRewards } from '../compiled.js';

const HOSTILE = fileURLToPath(new URL('fixtures/hostile.js', import.meta.url));
/** 10,000 and more: HOSTILE_SAMPLES=10000 npx vitest run test/rl/rewards/graders.test.ts */
const SAMPLES = Number(process.env.HOSTILE_SAMPLES ?? 300);

let rl: Awaited<ReturnType<typeof compiledRewards>>;
const folder = mkdtempSync(path.join(tmpdir(), 'train-moe-rewards-'));
beforeAll(async () => {
  rl = await compiledRewards();
});
afterAll(() => {
  rl.remove();
  rmSync(folder, { recursive: true });
});

const module = (name: string, source: string): string => {
  const file = path.join(folder, name);
  writeFileSync(file, source);
  return file;
};
const samples = (...completions: string[]) => completions.map((completion) => ({ prompt: '', completion }));

/** What each deed must come to: a value, or words of the reason. */
const DEEDS: Readonly<Record<string, number | RegExp>> = {
  good: 1,
  'good object': 0.5,
  'good later': 0.25,
  yes: 1,
  skip: /^not today$/,
  hang: /did not answer within/,
  'hang quietly': /did not answer within/,
  'never settle a microtask': /did not answer within/,
  exit: /left with status 0/,
  'exit 3': /left with status 3/,
  abort: /SIGABRT/,
  'kill itself': /SIGKILL/,
  'stop itself': /did not answer within/,
  heap: /heap|SIGABRT|memory|did not answer/,
  buffers: /memory|did not answer/,
  recursion: /RangeError/,
  shout: /printed more than/,
  'shout errors': /printed more than/,
  'shout into the channel': /more than \d+ bytes/,
  'lie in the channel': /another question/,
  'babble in the channel': /no answer/,
  'huge log': 1,
  'circular log': 1,
  'huge reason': /^z{500}$/,
  'throw an error': /threw Error: on purpose/,
  'throw a string': /threw a string/,
  'throw undefined': /threw undefined/,
  'throw a trap': /cannot be shown/,
  reject: /threw null/,
  'reject unheard': /unheard/,
  'throw later': /later/,
  nan: /not a finite number/,
  infinity: /not a finite number/,
  nothing: /returned undefined/,
  text: /returned string/,
  object: /not a finite number/,
  'fork and hang': /did not answer within/,
  'slow pattern': /did not answer within/,
  'poison every object': /changed Object\.prototype/,
  'poison iteration': /changed Array\.prototype/,
  'poison promises': /changed Promise\.prototype|did not answer within/,
  'poison later': /changed Object\.prototype/,
  'forge an answer without a result': /changed JSON/,
  'forge an answer with a text': /another question/,
  'forge answers to samples to come': /another question/,
  'return a trap': /trapped/,
  'change what it returned': 1,
  'grow its memory outside the heap': /memory|did not answer within/,
  'leave with a laugh': /left with status 0.*ha ha/,
};

const expectOutcome = (deed: string, result: RewardResult): void => {
  const expected = DEEDS[deed]!;
  if (typeof expected === 'number') expect([deed, result]).toMatchObject([deed, { value: expected }]);
  else expect([deed, result]).toEqual([deed, { skip: true, reason: expect.stringMatching(expected) }]);
};

const sleepers = (): string[] =>
  execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line === 'sleep 1000');

describe('hostile graders', () => {
  test('no answer that a reward writes itself is taken for one of a sample to come', async () => {
    const pool = await rl.openGraders([HOSTILE], { workers: 1, timeoutMs: 10_000 });
    try {
      const results = await pool.grade(samples('forge answers to samples to come', 'good', 'good'));
      expect(results).toEqual([
        [{ skip: true, reason: 'the grader answered another question' }],
        [{ value: 1 }],
        [{ value: 1 }],
      ]);
    } finally {
      pool.close();
    }
  });

  test('each costs its own sample and nothing else', { timeout: 180_000 }, async () => {
    const pool = await rl.openGraders([HOSTILE], { workers: 2, timeoutMs: 4000, memoryMb: 192 });
    try {
      const deeds = Object.keys(DEEDS);
      const results = await pool.grade(samples(...deeds.flatMap((deed) => [deed, 'good'])));
      deeds.forEach((deed, i) => {
        expectOutcome(deed, results[2 * i]![0]!);
        expect([deed, results[2 * i + 1]]).toEqual([deed, [{ value: 1 }]]);
      });
      expect(pool.size).toBe(2);
      expect(pool.replaced).toBeGreaterThan(10);
      await expect.poll(sleepers, { timeout: 15_000 }).toEqual([]); // the system may take a moment to reap
    } finally {
      pool.close();
    }
  });

  test(`${SAMPLES} of them leave the pool as large as it was`, { timeout: 60_000 + 600 * SAMPLES }, async () => {
    const pool = await rl.openGraders([HOSTILE], { workers: 4, timeoutMs: 250, memoryMb: 192 });
    try {
      const deeds = Object.keys(DEEDS);
      const order = Array.from({ length: SAMPLES }, (_, i) => (i % 2 ? 'good' : deeds[(i * 7919) % deeds.length]!));
      const results = await pool.grade(samples(...order));
      expect(results).toHaveLength(SAMPLES);
      // A loaded machine may let any of them run into the short deadline: then it is a skip, too, and never a value.
      const late = /did not answer within/;
      const outcome = (deed: string, [result]: RewardResult[]): void => {
        if (rl.isSkipped(result!) && late.test(result.reason)) return;
        expectOutcome(deed, result!);
      };
      order.forEach((deed, i) => {
        outcome(deed, results[i]!);
      });
      expect(pool.size).toBe(4);
      expect(await pool.grade(samples('good', 'good', 'good'))).toEqual([
        [{ value: 1 }],
        [{ value: 1 }],
        [{ value: 1 }],
      ]);
    } finally {
      pool.close();
    }
  });
});

describe('the pool', () => {
  test('grades every sample by every reward, in order', async () => {
    const results = await rl.grade(
      [
        { prompt: '1+1', completion: '<think>two</think><answer>2</answer>', answer: '2' },
        { prompt: '1+1', completion: 'The answer is 3', answer: '2' },
        { prompt: '1+1', completion: '2' },
      ],
      ['math', { name: 'format' }, { name: 'regex', options: { pattern: 'answer' } }],
      { workers: 2 },
    );
    expect(results).toEqual([
      [{ value: 1, log: { answer: '2' } }, { value: 1 }, { value: 1 }],
      [{ value: 0, log: { answer: '3' } }, { value: 0, log: { fault: '<think> is missing' } }, { value: 1 }],
      [
        { skip: true, reason: 'the problem has no reference answer' },
        { value: 0, log: { fault: '<think> is missing' } },
        { value: 0 },
      ],
    ]);
  });

  test('names the fault of a problem at load', async () => {
    const pool = await rl.openGraders(['math'], { workers: 1 });
    expect(pool.check({ prompt: '', answer: '\\frac{1}{' })).toMatch(/^math: the reference answer cannot be read/);
    expect(pool.check({ prompt: '', answer: '\\frac12' })).toBeUndefined();
    pool.close();
    await expect(pool.grade([])).rejects.toMatchObject({ code: 'bad-argument' });
  });

  test('takes an object with options from a module', async () => {
    const file = module('mine.mjs', `export default { name: 'mine', score: ({ completion }) => completion.length };`);
    const lengths = module('scaled.mjs', `export default ({ completion }, { by }) => completion.length * by;`);
    const specs = [{ name: file }, { name: lengths, options: { by: 10 } }];
    expect(await rl.grade(samples('abc'), specs, { workers: 1 })).toEqual([[{ value: 3 }, { value: 30 }]]);
  });

  test.each([
    ['a name that is none', 'maths', /no reward "maths"; the built-in ones are exact, number, math/],
    ['a file that is missing', './nowhere.js', /does not exist/],
    ['a module that throws', module('throws.mjs', 'throw new Error("at once")'), /could not be loaded: at once/],
    ['a module without a default', module('empty.mjs', 'export const x = 1'), /has no default export/],
    ['a module that is no reward', module('number.mjs', 'export default 3'), /exports no reward/],
    ['a module that exits', module('exits.mjs', 'process.exit(0)'), /left with status 0/],
    ['a module that hangs', module('hangs.mjs', 'for (;;);'), /did not answer within 1500 ms/],
    ['a pattern that is none', { name: 'regex', options: { pattern: '(' } }, /pattern cannot be read/],
  ])('refuses %s', async (_what, spec, sentence) => {
    const startMs = sentence.source.includes('within') ? 1500 : 30_000;
    await expect(rl.openGraders([spec], { workers: 1, startMs })).rejects.toMatchObject({
      name: 'TrainMoeError',
      message: expect.stringMatching(sentence),
    });
  });

  test.each([{ workers: 0 }, { timeoutMs: -1 }, { memoryMb: 1.5 }, { memoryMb: 64 }])('refuses %j', async (options) => {
    await expect(rl.openGraders(['exact'], options)).rejects.toMatchObject({ code: 'bad-argument' });
  });
});
