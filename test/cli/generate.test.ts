import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
