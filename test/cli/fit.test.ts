import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runChat } from '../../src/cli/model/chat.js';
import { runEvaluation } from '../../src/cli/model/evaluate.js';
import { runForward } from '../../src/cli/model/forward.js';
import { generateTexts, writeStream } from '../../src/cli/model/generate.js';
import { openModel, openTokenizer } from '../../src/cli/model/open.js';
import { folderSink } from '../../src/hub/byte_sink.js';
import { writeSafetensors } from '../../src/hub/safetensors.js';
import { disposeModel } from '../../src/models/codec.js';
import { addon } from '../../src/native.js';
import { device, memoryOf } from '../../src/tensor/index.js';
import { openChatTemplate } from '../../src/tokenizer/index.js';
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

  it('chat: fewer tokens of the conversation, bf16', async () => {
    const opened = openModel(options);
    const template = await openChatTemplate(openTokenizer(options), { folder: model });
    const terminal = () => ({
      input: Readable.from([`${'hello '.repeat(320)}\n`]),
      output: new Writable({ write: (_, __, done) => done() }),
    });
    const talk = () => runChat(opened, template, { maxTokens: 4 }, terminal());
    expect(await short(0.9, talk)).toMatch(
      /would fit: --context \d+ \(about [^)]*\); (--dtype bf16 \(about [^)]*\); )?--context \d+ --dtype bf16 \(about [^)]*\)\.$/,
    );
    disposeModel(opened.model);
  });

  it('forward: no gradients, bf16, fewer rows of its file', async () => {
    const inputs = 'inputs.safetensors';
    const ids = new Int32Array(16 * 64).fill(5);
    const spec = (name: string) => ({ name, shape: [16, 64], dtype: 'I32' as const });
    folderSink(folder).file(inputs, (sink) =>
      writeSafetensors(sink, [spec('input_ids'), spec('labels')], () => new Uint8Array(ids.buffer)),
    );
    const out = join(folder, 'outputs.safetensors');
    const pass = () => runForward({ ...options, inputs: join(folder, inputs), out, grads: true });
    expect(await short(0.9, pass)).toMatch(
      /would fit: .*input_ids with rows: \d+ \(about [^)]*\); --grads false .*\(about /,
    );
  });
});
