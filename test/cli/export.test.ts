import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gguf } from '@huggingface/gguf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createModel, disposeModel } from '../../src/models/codec.js';
import type { Model } from '../../src/models/family.js';
import { gpt2 } from '../../src/models/gpt2.js';
import { saveModel } from '../../src/models/save.js';
import { device } from '../../src/tensor/index.js';
import { writeTinyModel } from '../rl/tiny.js';
import { commandLine } from './command_line.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-export-'));
const model = join(folder, 'model');
const out = join(folder, 'out');
beforeAll(() => writeTinyModel(model));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const to = (name: string, ...words: string[]) =>
  commandLine(['export', '--model', model, '--out', join(out, name), ...words]);

describe('export to GGUF', () => {
  it('writes one file with the vocabulary and the chat template, and says what it is', async () => {
    const { code, out: said } = await to('a.gguf', '--dtype', 'f16');
    expect(code).toBe(0);
    expect(said).toMatch(/^Wrote .*a\.gguf: [\d.]+k? parameters in f16, [\d.]+ KiB, as llama\.\n$/);
    const { metadata } = await gguf(join(out, 'a.gguf'), { allowLocalFile: true });
    expect(metadata).toMatchObject({ 'general.file_type': 1, 'general.name': 'model' });
    expect((metadata as Record<string, unknown>)['tokenizer.chat_template']).toContain('message.content');
  });

  it('says where matrices are wider', async () => {
    expect((await to('b.gguf', '--dtype', 'q8_0')).out).toMatch(
      /\n\d+ matrices are f16: their rows are no multiple of 32\.\n$/,
    );
  });

  it('leaves nothing where it fails, and takes no file that is there', async () => {
    expect((await to('a.gguf')).err).toMatch(/a\.gguf exists already; name a file that does not\./);
    expect((await to('c.gguf', '--dtype', 'q4')).err).toMatch(
      /--dtype is "q4"; of a \.gguf file it must be f32, bf16, f16, q8_0\./,
    );
    expect((await commandLine(['export', '--model', folder, '--out', join(out, 'd.gguf')])).code).not.toBe(0);
    expect(readdirSync(out).sort()).toEqual(['a.gguf', 'b.gguf']);
  });

  it('refuses what llama.cpp does not know before it asks for more or makes a folder', async () => {
    const named = join(folder, 'gpt2');
    const hub = { vocab_size: 16, n_embd: 16, n_layer: 1, n_head: 2, n_positions: 16 };
    const made = createModel(gpt2, gpt2.fromHub(hub), {
      device: device('cpu'),
      dtype: 'f32',
      seed: 1,
    }) as unknown as Model;
    saveModel(named, made);
    disposeModel(made);
    const { err } = await commandLine(['export', '--model', named, '--out', join(folder, 'new', 'a.gguf')]);
    expect(err).toMatch(/A gpt2 model cannot be written as GGUF/);
    expect(existsSync(join(folder, 'new'))).toBe(false);
  });
});
