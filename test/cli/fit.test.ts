import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runEvaluation } from '../../src/cli/model/evaluate.js';
import { generateTexts, writeStream } from '../../src/cli/model/generate.js';
import { openModel, openTokenizer } from '../../src/cli/model/open.js';
import { disposeModel } from '../../src/models/codec.js';
import { addon } from '../../src/native.js';
import { device, memoryOf } from '../../src/tensor/index.js';
import { writeTinyModel } from '../rl/tiny.js';

/* Commands that run a model say which of their flags would fit when they do not. */

const folder = mkdtempSync(join(tmpdir(), 'train-moe-cli-fit-'));
const model = join(folder, 'model');
const options = { model, device: 'cpu', dtype: 'f32' } as const;
const cpu = device('cpu');
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeAll(() => writeTinyModel(model));

/** What `body` says with `share` of the memory that it takes, beside what is held before. */
async function short(share: number, body: () => unknown): Promise<string> {
  addon.trimMemory(cpu.index);
  const start = memoryOf(cpu, true).live;
  await body();
  const whole = memoryOf(cpu).peak - start;
  addon.trimMemory(cpu.index);
  addon.limitMemory(cpu.index, memoryOf(cpu).live + Math.round(share * whole));
  try {
    await body();
  } catch (error) {
    expect(error).toMatchObject({ code: 'out-of-memory' });
    expect(memoryOf(cpu).tags['key cache']?.live ?? 0).toBe(0);
    return (error as Error).message;
  } finally {
    addon.limitMemory(cpu.index, 0);
  }
  throw new Error('It fits.');
}

describe('a command that does not fit', () => {
  it('generate: fewer completions, bf16, shorter ones; what is longer than the model reads takes no memory', async () => {
    const opened = openModel(options);
    const tokenizer = openTokenizer(options);
    const sized = (maxTokens: number) => () => generateTexts(opened, tokenizer, 'the', { count: 32, maxTokens });
    expect(await short(0.7, sized(1_000_000))).toMatch(
      /would fit: --count \d+ \(about [^)]*\); --dtype bf16 \(about [^)]*\); --max-tokens \d+ \(about [^)]*\)\.$/,
    );
    const one = () => writeStream(opened, tokenizer, 'the', { maxTokens: 100 }, () => {});
    expect(await short(0.6, one)).toMatch(/would fit: .*--max-tokens \d+ \(about /);
    disposeModel(opened.model);
  });

  it('eval: fewer windows at once, shorter ones', async () => {
    const text = join(folder, 'text.txt');
    writeFileSync(text, 'one two three four '.repeat(400));
    const score = () => runEvaluation({ ...options, data: [text], field: 'text', length: 64, rows: 32, windows: 32 });
    expect(await short(0.8, score)).toMatch(
      /^[^:]+: cpu-\w+ has no room for .* of activations; held now: .*would fit: --rows \d+ \(about .*; --length \d+ \(about /,
    );
  });
});
