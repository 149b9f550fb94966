import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TrainMoeError } from '../../src/errors.js';
import { addon } from '../../src/native.js';
import { atOnce } from '../../src/recipes/fit.js';
import { type MeasureOptions, measure } from '../../src/recipes/measure.js';
import { openSession, stage } from '../../src/recipes/session.js';
import { resolveR1 } from '../../src/recipes/settings.js';
import type { Judged } from '../../src/rl/run.js';
import { device, memoryOf } from '../../src/tensor/index.js';
import { questions, tinyModel, wantedShare, writeTinyModel } from '../rl/tiny.js';

/* An evaluation takes what memory there is; what says so when it does not suffice names the settings of the recipe. */

const folder = mkdtempSync(join(tmpdir(), 'train-moe-recipe-fit-'));
const model = join(folder, 'model');
const cpu = device('cpu');
beforeAll(() => writeTinyModel(model));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const options: MeasureOptions = {
  device: 'cpu',
  dtype: 'f32',
  questions: 4,
  samples: 4,
  temperature: 1,
  maxTokens: 24,
  shown: 1,
};
const judged: Judged = { source: questions, grader: wantedShare };
const evaluation = (o: Partial<MeasureOptions> = {}) => measure(model, async () => judged, { ...options, ...o });

/** Runs `body` with so many bytes beside what is held now. */
async function within<T>(bytes: number, body: () => Promise<T>): Promise<T> {
  addon.trimMemory(cpu.index);
  addon.limitMemory(cpu.index, memoryOf(cpu).live + bytes);
  try {
    return await body();
  } finally {
    addon.limitMemory(cpu.index, 0);
  }
}

async function peakOf(body: () => Promise<unknown>): Promise<number> {
  addon.trimMemory(cpu.index);
  const start = memoryOf(cpu, true).live;
  await body();
  return memoryOf(cpu).peak - start;
}

describe('an evaluation', () => {
  it('takes fewer completions at once where memory is short, and finds the same', async () => {
    const whole = await evaluation();
    const peak = await peakOf(evaluation);
    expect(await within(0.4 * peak, evaluation)).toEqual(whole);
  });

  it('is refused where the task holds no questions back', async () => {
    const none: Judged = { source: { ...questions, test: () => undefined }, grader: wantedShare };
    await expect(measure(model, async () => none, options)).rejects.toMatchObject({
      code: 'bad-data',
      message: expect.stringMatching(/^The task holds no questions out of training/),
    });
  });

  it('halves both what is in flight and the rows of a pass, down to one question', () => {
    const shape = tinyModel('dense');
    const size = { samples: 4, maxTokens: 24, dtype: 'f32' } as const;
    const found = [1e12, 2e6, 0].map((room) => atOnce(shape, 2, size, room));
    expect(found[0]).toEqual({ completions: 128, rows: 16_384 });
    expect(found[1]!.completions).toBeLessThan(128);
    expect(found[1]!.completions).toBeGreaterThan(4);
    expect(found[2]).toEqual({ completions: 4, rows: 128 });
  });

  it('says what would fit where one question does not', async () => {
    const long = () => evaluation({ maxTokens: 2000, samples: 16 });
    await expect(within(2_500_000, long)).rejects.toThrow(
      /would fit: --max-tokens \d+ \(about [^)]*\); --max-tokens \d+ --samples 1 --dtype bf16 \(about /,
    );
  });
});

describe('a stage without memory', () => {
  const session = openSession({ ...resolveR1({ out: folder }) }, {});
  const fails = (name: string, code: 'out-of-memory' | 'bad-data' = 'out-of-memory') => {
    const run = () => {
      throw new TrainMoeError(code, 'No room. Of 1 GB, these would fit: --max-tokens 8.');
    };
    return stage(session, { name, settings: {}, inputs: [], run }).catch((error: Error) => error.message);
  };

  it('is named, with where its settings are', async () => {
    expect(await fails('zero')).toBe(
      'In the stage zero: No room. Of 1 GB, these would fit: --max-tokens 8. r1 takes such settings as JSON: ' +
        '--settings \'{"zero":{...}}\', where --rows-at-once is "rowsAtOnce" and --train.rows is "train":{"rows":...}.',
    );
    expect(await fails('rl2-answers')).toContain('{"distillSamples":{...}}');
    expect(await fails('measure-rl2')).toContain('{"evaluation":{...}}');
    expect(await fails('corpus')).toBe('In the stage corpus: No room. Of 1 GB, these would fit: --max-tokens 8.');
  });

  it('is all that is explained', async () => {
    expect(await fails('zero', 'bad-data')).toBe('No room. Of 1 GB, these would fit: --max-tokens 8.');
  });
});
