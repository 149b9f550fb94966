import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { runEvaluation } from '../../src/cli/model/evaluate.js';
import { defineConfig, type RunConfigInput } from '../../src/config/index.js';
import { disposeModel } from '../../src/models/codec.js';
import { loadModel } from '../../src/models/folder.js';
import { device } from '../../src/tensor/index.js';
import { loadTokenizer } from '../../src/tokenizer/index.js';
import { pretrain } from '../../src/train/pretrain.js';
import { expectToGoOn } from './going_on.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-xlnet-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const cpu = device('cpu');

describe('pretrain of XLNet', () => {
  const text = join(folder, 'text.jsonl');
  const animals = ['cat', 'dog', 'cow', 'hen', 'fox', 'owl'];
  const sounds = ['purrs', 'barks', 'moos', 'clucks', 'yelps', 'hoots'];
  const sentence = (i: number) => `The ${animals[i % 6]} ${sounds[i % 6]}.`;
  const documents = Array.from({ length: 60 }, (_, i) => `${i}\n${`${sentence(i * i + (i >> 2))}\n`.repeat(60)}`);
  writeFileSync(text, documents.map((of) => JSON.stringify({ text: of })).join('\n'));
  const run = (out: string, steps: number, more: RunConfigInput = {}) =>
    defineConfig({
      preset: 'xlnet-nano',
      out,
      device: 'cpu',
      data: { sources: [text], validation: 0.1, ...more.data },
      tokenizer: { vocabSize: 320, ...more.tokenizer },
      model: { hidden: 64, layers: 2, heads: 4, inner: 128, deviation: 0.1, memoryLength: 30 },
      train: {
        steps,
        rows: 8,
        length: 48,
        accumulate: 2,
        optimizer: { lr: 1e-3, decay: 0.01 },
        schedule: { warmup: 20 },
        ...more.train,
      },
      evaluate: { every: 0, windows: 40 },
      save: { every: 0 },
      log: { tensorboard: false },
    });

  it('learns, and its folder comes back as the model that was trained, which eval scores as the run did', async () => {
    const end = await pretrain(run(join(folder, 'learns'), 250));
    const mean = (losses: RunEndLosses) => losses.reduce((sum, [, loss]) => sum + loss, 0) / losses.length;
    expect(mean(end.losses.slice(-20))).toBeLessThan(mean(end.losses.slice(0, 20)) / 2);
    const at = end.checkpoint!;
    expect(JSON.parse(readFileSync(join(at, 'config.json'), 'utf8'))).toMatchObject({
      model_type: 'xlnet',
      architectures: ['XLNetLMHeadModel'],
      mem_len: 30,
      bi_data: false,
      pad_token_id: 5,
    });
    const tokenizer = loadTokenizer(at);
    expect([...tokenizer.withSpecials([17, 18], [19]).ids]).toEqual([17, 18, 4, 19, 4, 3]);
    expect([...tokenizer.withSpecials([17, 18], [19]).typeIds]).toEqual([0, 0, 0, 1, 1, 2]);
    const held = join(folder, 'held.jsonl');
    writeFileSync(
      held,
      documents
        .slice(0, 8)
        .map((of) => JSON.stringify({ text: of }))
        .join('\n'),
    );
    const score = (rows: number) =>
      runEvaluation({
        model: at,
        device: 'cpu',
        dtype: 'f32',
        data: [held],
        field: 'text',
        length: 48,
        rows,
        windows: 40,
      });
    const [one, other] = [await score(8), await score(3)];
    expect(one.tokens).toBe(40 * 8);
    expect(one.loss).toBeCloseTo(other.loss, 5); // however many rows are read at once
    expect(one.loss).toBeLessThan(mean(end.losses.slice(0, 20)) / 2);
    expect(end.evaluation!.tokens).toBeGreaterThan(0);
  });

  type RunEndLosses = readonly (readonly [number, number])[];

  it('goes on after a stop, to the same bits as without one, its memory included', async () => {
    const { goneOn } = await expectToGoOn((out) => run(out, 8), folder);
    expect(JSON.parse(readFileSync(join(goneOn.checkpoint!, 'trainer', 'state.json'), 'utf8'))).toMatchObject({
      data: { epoch: 0, index: 64 },
    });
  });

  it('goes on from a folder that remembers nothing in training, as released models do', async () => {
    const first = await pretrain(run(join(folder, 'begun'), 2));
    const { preset: _, model: _shape, tokenizer: _own, ...rest } = run(join(folder, 'further'), 2);
    const { checkpoint } = await pretrain(defineConfig({ ...rest, model: first.checkpoint! }));
    const loaded = loadModel(checkpoint!, { device: cpu });
    expect(loaded.family.name).toBe('xlnet');
    disposeModel(loaded);
  });

  it('is told what does not fit it, before any text is read', async () => {
    const out = join(folder, 'refused');
    const refused = (more: RunConfigInput) =>
      expect(
        pretrain(defineConfig({ ...run(out, 2, more), data: { ...run(out, 2, more).data, sources: ['nowhere'] } })),
      ).rejects;
    await refused({ data: { fim: 0.5 } }).toThrow(/^data\.fim = 0\.5 is for models that write/);
    await refused({ data: { packing: 'documents' } }).toThrow(
      /data\.packing = documents is not for models of the family/,
    );
    await refused({ train: { rowsRamp: { from: 2, steps: 4 } } }).toThrow(/train\.rowsRamp is not for models/);
    await expect(
      pretrain(defineConfig({ preset: 'gpt2-nano', out, data: { sources: ['nowhere'], reversed: true } })),
    ).rejects.toThrow(/^data\.reversed is for XLNet; the model is of the family gpt2; leave it out\.$/);
    expect(existsSync(out)).toBe(false);
    const vocabulary = join(folder, 'no-cls');
    mkdirSync(vocabulary);
    writeFileSync(join(vocabulary, 'vocab.txt'), ['[PAD]', '[UNK]', '[SEP]', '[MASK]', 'a'].join('\n'));
    const without = run(out, 2, { tokenizer: { path: vocabulary } });
    await expect(pretrain(without)).rejects.toThrow(/has no token <cls>, with which rows of xlnet are built/);
    await expect(pretrain(run(out, 2, { train: { length: 6 } }))).rejects.toThrow(/Rows of 6 tokens are too short/);
    expect(existsSync(join(out, 'cache'))).toBe(false);
  });
});
