import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defineConfig } from '../../src/config/index.js';
import { trainBpe } from '../../src/tokenizer/index.js';
import { ENCODER_TOKENS } from '../../src/train/masking.js';
import { pretrain } from '../../src/train/pretrain.js';
import { installPackage, runInstalled } from '../package/installed.js';
import { tinyRun } from '../train/tiny.js';
import { commandLine } from './command_line.js';

/* Words around a model: the prompt, where it comes from, and what is said of a model and of mistakes. */

const folder = mkdtempSync(join(tmpdir(), 'train-moe-generate-'));
let installed = '';
let model = '';
beforeAll(async () => {
  installed = installPackage('generate');
  model = (await pretrain(tinyRun(join(folder, 'run')))).checkpoint!;
});
afterAll(() => {
  for (const each of [folder, installed]) rmSync(each, { recursive: true, force: true });
});

const words = (maxTokens = 4) =>
  `generate --model ${model} --device cpu --temperature 0 --max-tokens ${maxTokens}`.split(' ');

describe('generate', () => {
  it('shows the prompt and goes on from it; the same text comes by standard input', async () => {
    const named = await commandLine([...words(), 'the cat']);
    expect(named.code).toBe(0);
    expect(named.out.startsWith('the cat')).toBe(true);
    expect(named.out.replace(/\n$/, '').length).toBeGreaterThan('the cat'.length); // white space is text too
    const piped = await runInstalled(installed, words(), { input: 'the cat' });
    expect(piped).toMatchObject(named);
  });

  it('shows nothing when an option is wrong', async () => {
    const { code, out, err } = await commandLine([...words(0), 'the cat']);
    expect([code !== 0, out]).toEqual([true, '']);
    expect(err).toContain('--max-tokens is 0');
  });
});

describe('fill', () => {
  it('says what an encoder finds behind each mask, and what it cannot do', async () => {
    const out = join(folder, 'encoder');
    const sizes = { hidden: 16, layers: 1, heads: 2, inner: 32 };
    const { data, tokenizer, log } = tinyRun(out);
    const train = { steps: 2, rows: 2, length: 24 };
    const { checkpoint } = await pretrain(
      defineConfig({ preset: 'roberta-nano', out, device: 'cpu', data, tokenizer, log, model: sizes, train }),
    );
    const chats = join(folder, 'chats.jsonl');
    writeFileSync(chats, JSON.stringify({ prompt: 'a', completion: 'b' }));
    const asked = ['fill', '--model', checkpoint!, '--device', 'cpu', '--top', '3', 'a <mask> and a <mask>'];
    const told = await commandLine([...asked, '--json']);
    const masks = JSON.parse(told.out) as { id: number; text: string; probability: number }[][];
    expect(masks.map((found) => found.length)).toEqual([3, 3]);
    for (const [best, second] of masks) expect(best!.probability).toBeGreaterThanOrEqual(second!.probability);
    expect((await commandLine(asked)).out).toMatch(/^mask 1\n.*%\n.*%\n.*%\nmask 2\n/);
    const fails = async (...args: string[]) => (await commandLine([...args, '--device', 'cpu'])).err;
    expect(await fails('fill', '--model', checkpoint!, 'nothing')).toMatch(
      /The text hides nothing; write <mask> where/,
    );
    expect(await fails('fill', '--model', model, 'a <mask>')).toMatch(
      /which writes what comes next; give an encoder such as bert or roberta/,
    );
    const larger = join(folder, 'larger.json');
    const letters = '0123456789abcdefghijklmnopqrstuvwxyz';
    const texts = Array.from({ length: 2000 }, (_, i) => [...letters].map((c) => c + letters[i % 36]).join(' '));
    (await trainBpe(texts, { vocabSize: 900, specialTokens: [...ENCODER_TOKENS], template: 'roberta' })).save(larger);
    for (const words of [
      ['fill', 'a <mask>'],
      ['eval', '--data', chats],
      ['generate', 'a'],
      ['chat', '--template', '{{ messages[0].content }}'],
    ]) {
      const at = words[0] === 'generate' || words[0] === 'chat' ? model : checkpoint!;
      expect(await fails(...words, '--model', at, '--tokenizer', larger)).toMatch(
        /The tokenizer .* has \d+ tokens, but the model .* only \d+; give the model's own/,
      );
    }
    expect(await fails('generate', '--model', checkpoint!, 'a')).toMatch(
      /a roberta model, an encoder: it fills in masked words/,
    );
    expect(await fails('sft', '--model', checkpoint!, '--data', chats, '--out', join(folder, 'no'))).toMatch(
      /a roberta model, an encoder: it fills in masked words/,
    );
    const scored = await commandLine([
      'eval',
      '--model',
      checkpoint!,
      '--device',
      'cpu',
      '--data',
      'LICENSE',
      '--json',
    ]);
    expect(JSON.parse(scored.out)).toMatchObject({ loss: expect.any(Number) });
  });
});

describe('info', () => {
  it('shows small numbers as they are', async () => {
    const { out } = await commandLine(['info', model]);
    expect(out).toMatch(/^eps\s+0\.000001$/m);
  });

  it('names the folder that is not there, and the presets', async () => {
    const { code, err } = await commandLine(['info', join(folder, 'nosuch')]);
    expect(code).toBe(8);
    expect(err).toMatch(/^train-moe: There is no folder .*nosuch\. There is no preset .*; known are .*deepseek-v3/);
  });
});
