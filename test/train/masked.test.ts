import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { defineConfig, type RunConfigInput } from '../../src/config/index.js';
import { type Batch, IGNORE } from '../../src/data/index.js';
import { type Filling, fillMask } from '../../src/generate/index.js';
import { createModel, disposeModel, hubTensors, trainedParameters } from '../../src/models/codec.js';
import type { Family, Model } from '../../src/models/family.js';
import { loadModel } from '../../src/models/folder.js';
import { forward } from '../../src/models/forward.js';
import { families, presetNamed } from '../../src/models/index.js';
import { AdamW } from '../../src/optim/adamw.js';
import { device, differentiate, resetGradients, scope, tensorsIn, zeros } from '../../src/tensor/index.js';
import { loadTokenizer, openTokenizer } from '../../src/tokenizer/index.js';
import { evaluate } from '../../src/train/evaluate.js';
import { languageModelLoss } from '../../src/train/loss.js';
import { pretrain } from '../../src/train/pretrain.js';
import { StepGraphs, trainStep } from '../../src/train/step.js';
import { expectToGoOn } from './going_on.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-masked-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const cpu = device('cpu');

const sizes = { vocabulary: 40, hidden: 16, layers: 2, heads: 2, inner: 32, context: 32, deviation: 0.15 };
const encoders = families.filter(({ encoder }) => encoder);
/** A small encoder of a family; the head for pairs is left out, since only words are trained. */
function tiny(family: Family, dtype: 'f32' | 'bf16' = 'f32'): Model {
  const [preset] = Object.values(family.presets) as [object];
  const config = { ...preset, ...sizes, ...('relation' in preset && { relation: false }) };
  const narrow = 'embedding' in preset ? { embedding: 8, groups: 1 } : {};
  return createModel(family, { ...config, ...narrow }, { device: cpu, dtype, seed: 3, train: true });
}

/** Two rows of 20 tokens with three hidden in the first and two in the second. */
const ids = Int32Array.from({ length: 40 }, (_, i) => 5 + ((i * 11) % 35));
const hidden = [3, 7, 19, 20, 38];
const batch: Batch = {
  rows: 2,
  length: 20,
  ids,
  targets: ids.map((_, r) => (hidden.includes(r) ? 5 + ((r * 3) % 35) : IGNORE)),
  documentStart: new Int32Array(40),
  trainedTokens: 5,
  targetsPerRow: 4,
  bytes: 0,
};

/** Gradients of the training loss, under the names on disk. */
function gradients(model: Model, of: Batch) {
  return scope(() => {
    resetGradients(tensorsIn(model.weights).filter((t) => t.requiresGrad));
    const { losses } = differentiate(() => ({
      losses: [languageModelLoss(model, of, { device: cpu, trainedTokens: of.trainedTokens }).main],
    }));
    const none = (shape: readonly number[]) => zeros(shape, { device: cpu }).read();
    const values = hubTensors(model, (t) => t.gradient?.value(t.shape)?.read() ?? none(t.shape));
    return { loss: losses[0]!.item(), gradients: new Map(values.map((t) => [t.name, t.values()])) };
  });
}

describe.each(encoders.map((family) => [family.name, family] as const))('training %s on hidden words', (_, family) => {
  it('takes the loss and gradients of the whole forward pass, of which the head reads hidden words only', () => {
    const model = tiny(family);
    const whole = forward(model, { shape: [2, 20], inputIds: ids, labels: batch.targets }, cpu, true);
    const own = gradients(model, batch);
    expect(own.loss).toBeCloseTo(whole.loss!, 5);
    const largest = Math.max(...[...whole.gradients!.values()].map(({ values }) => Math.max(...values.map(Math.abs))));
    for (const [name, { values }] of whole.gradients!)
      for (const [i, g] of own.gradients.get(name)!.entries())
        expect(Math.abs(g - values[i]!), name).toBeLessThan(2e-5 * largest);
    disposeModel(model);
  });

  it('is the same in bf16 but for rounding', () => {
    const [exact, rounded] = [tiny(family), tiny(family, 'bf16')];
    const [a, b] = [gradients(exact, batch), gradients(rounded, batch)];
    expect(Math.abs(b.loss / a.loss - 1)).toBeLessThan(0.05);
    for (const name of a.gradients.keys()) {
      const [x, y] = [a.gradients.get(name)!, b.gradients.get(name)!];
      const size = Math.sqrt(x.reduce((sum, g) => sum + g * g, 0));
      const apart = Math.sqrt(x.reduce((sum, g, i) => sum + (g - y[i]!) ** 2, 0));
      if (size > 1e-3) expect(apart / size, name).toBeLessThan(0.25);
    }
    for (const model of [exact, rounded]) disposeModel(model);
  });

  it('learns a batch by heart, in recorded steps as in others', () => {
    const losses = [true, false].map((recorded) => {
      const model = tiny(family);
      const optimizer = new AdamW(trainedParameters(model), { decay: 0 }, cpu);
      const graphs = recorded ? new StepGraphs() : undefined;
      const options = {
        device: cpu,
        lr: 3e-3,
        clip: 1,
        accumulate: 1,
        mtpWeight: 0,
        balance: false,
        recompute: !recorded,
        biasSpeed: 0,
      };
      const all = Array.from({ length: 80 }, () => trainStep(model, optimizer, batch, options, graphs).loss);
      graphs?.dispose();
      optimizer.dispose();
      disposeModel(model);
      return all;
    });
    expect(losses[0]!.at(-1)).toBeLessThan(losses[0]![0]! / 3);
    for (const [i, loss] of losses[1]!.entries()) expect(loss).toBeCloseTo(losses[0]![i]!, 4);
  });
});

describe('pretrain of an encoder', () => {
  /** Documents that say one sentence again and again, so that every hidden word stands elsewhere in its row. */
  const text = join(folder, 'text.jsonl');
  const animals = ['cat', 'dog', 'cow', 'hen', 'fox', 'owl'];
  const sounds = ['purrs', 'barks', 'moos', 'clucks', 'yelps', 'hoots'];
  const sentence = (i: number) => `The ${animals[i % 6]} ${sounds[i % 6]}.`;
  const documents = Array.from({ length: 60 }, (_, i) => `${i}\n${`${sentence(i * i + (i >> 2))}\n`.repeat(60)}`);
  writeFileSync(text, documents.map((of) => JSON.stringify({ text: of })).join('\n'));
  const run = (out: string, steps: number, data: RunConfigInput['data'] = {}) =>
    defineConfig({
      preset: 'roberta-nano',
      out,
      device: 'cpu',
      data: { sources: [text], validation: 0, ...data },
      tokenizer: { vocabSize: 320 },
      model: { hidden: 64, layers: 2, heads: 4, inner: 128, deviation: 0.1 },
      train: {
        steps,
        rows: 8,
        length: 48,
        accumulate: 2,
        optimizer: { lr: 1e-3, decay: 0.01 },
        schedule: { warmup: 20 },
      },
      evaluate: { every: 0 },
      save: { every: 0 },
      log: { tensorboard: false },
    });

  it('finds hidden words, and its folder comes back as the model that was trained', async () => {
    const end = await pretrain(run(join(folder, 'learns'), 800));
    const last = end.losses.slice(-50).map(([, loss]) => loss);
    expect(last.reduce((a, b) => a + b) / 50).toBeLessThan(1);
    const tokenizer = loadTokenizer(end.checkpoint!);
    const model = loadModel(end.checkpoint!, { device: cpu });
    const maskId = tokenizer.maskId!;
    expect([...tokenizer.withSpecials([7, 8], [9]).ids]).toEqual([0, 7, 8, 2, 2, 9, 2]);
    expect(tokenizer.decode(tokenizer.encode('The <mask>', { allowSpecial: true }))).toBe('The<mask>');
    expect(model.hubConfig.values).toMatchObject({
      model_type: 'roberta',
      architectures: ['RobertaForMaskedLM'],
      pad_token_id: 1,
    });
    let right = 0;
    for (const i of [0, 1, 2, 3, 4, 5]) {
      const before = `${`${sentence(i)}\n`.repeat(3)}The ${animals[i]}`;
      const whole = tokenizer.encode(`${before} ${sounds[i]}.\n${`${sentence(i)}\n`.repeat(3)}`);
      const asked = [tokenizer.bosId!, ...whole];
      const at = 1 + tokenizer.encode(before).length;
      asked[at] = maskId;
      const [[best]] = fillMask(model, asked, { maskId, top: 3 }) as [[Filling]];
      if (best.id === whole[at - 1]) right++;
      expect(best.probability).toBeLessThanOrEqual(1);
    }
    expect(right).toBeGreaterThanOrEqual(5);
    disposeModel(model);
  });

  it("tells its own tokenizer's special tokens, not those of the released model", async () => {
    const { tokenizer, data, log } = run(join(folder, 'ids'), 1);
    const model = { hidden: 16, layers: 1, heads: 2, inner: 16 };
    const train = { steps: 1, rows: 2, length: 16 };
    const { checkpoint } = await pretrain(
      defineConfig({
        preset: 'bert-tiny',
        out: join(folder, 'ids'),
        device: 'cpu',
        data,
        tokenizer,
        log,
        model,
        train,
      }),
    );
    const { padId } = loadTokenizer(checkpoint!);
    expect(padId).toBe(1);
    expect(JSON.parse(readFileSync(join(checkpoint!, 'config.json'), 'utf8'))).toMatchObject({ pad_token_id: padId });
  });

  it('goes on after a stop, to the same bits as without one', async () => {
    await expectToGoOn((out) => run(out, 8), folder);
  });

  it('of a WordPiece vocabulary keeps it beside the model', async () => {
    const vocabulary = join(folder, 'wordpiece');
    mkdirSync(vocabulary);
    const letters = [...'abcdefghijklmnopqrstuvwxyz0123456789'];
    const words = [...letters, ...letters.map((letter) => `##${letter}`), ...animals, ...sounds, 'the', '.'];
    writeFileSync(join(vocabulary, 'vocab.txt'), ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', ...words].join('\n'));
    const { checkpoint } = await pretrain({
      ...run(join(folder, 'bert'), 4),
      ...defineConfig({
        ...run(join(folder, 'bert'), 4),
        preset: 'bert-tiny',
        tokenizer: { path: vocabulary },
        model: { hidden: 16, layers: 1, heads: 2, inner: 32 },
        data: { ...run(join(folder, 'bert'), 4).data, pairs: 'none' },
      }),
    });
    const tokenizer = openTokenizer(checkpoint!);
    expect(tokenizer.decode(tokenizer.encode('The owl hoots.'))).toBe('the owl hoots.');
    const model = loadModel(checkpoint!, { device: cpu });
    expect(model.hubConfig.values).toMatchObject({ architectures: ['BertForMaskedLM'], vocab_size: 5 + words.length });
    const { ids } = tokenizer.withSpecials(tokenizer.encode('the [MASK] hoots.', { allowSpecial: true }));
    expect([ids[0], ids.at(-1)]).toEqual([tokenizer.clsId, tokenizer.sepId]);
    expect(fillMask(model, ids, { maskId: tokenizer.maskId! })[0]).toHaveLength(5);
    disposeModel(model);
  });

  it('is told what it lacks', async () => {
    const { family, config } = presetNamed('roberta-nano');
    const model = createModel(family, { ...(config as object), ...sizes }, { device: cpu, dtype: 'f32', seed: 1 });
    const stream = {} as never;
    expect(() =>
      evaluate(model, Object.assign(stream, { tokens: 100 }), {
        device: cpu,
        rows: 1,
        length: 8,
        windows: 1,
        packing: 'stream',
      }),
    ).toThrow(/is scored on words that are hidden/);
    expect(() => fillMask(model, [0, 5, 2], { maskId: 4 })).toThrow(/hide nothing/);
    expect(() => fillMask(model, new Array(40).fill(4), { maskId: 4 })).toThrow(/40 tokens, but this model reads 32/);
    disposeModel(model);
    for (const length of [1, 2.5])
      expect(() =>
        evaluate(model, Object.assign(stream, { tokens: 100 }), {
          device: cpu,
          rows: 1,
          length,
          windows: 1,
          packing: 'stream',
          objective: {
            kind: 'masked',
            masking: { maskId: 4, bosId: 0, vocabulary: 40, isSpecial: (id) => id < 5, share: 0.15 },
          },
        }),
      ).toThrow(`The length of rows is ${length}; it must be a whole number of at least 2`);
    const vocabulary = join(folder, 'no-mask');
    mkdirSync(vocabulary);
    writeFileSync(join(vocabulary, 'vocab.txt'), ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'a'].join('\n'));
    const out = join(folder, 'maskless');
    const maskless = defineConfig({ ...run(out, 2), preset: 'bert-tiny', model: {}, tokenizer: { path: vocabulary } });
    await expect(pretrain(maskless)).rejects.toThrow(/has no token <mask> or \[MASK\], which an encoder needs/);
    expect(existsSync(join(out, 'cache'))).toBe(false); // nothing was tokenised
    await expect(pretrain(run(join(folder, 'fim'), 2, { fim: 0.5 }))).rejects.toThrow(/data\.fim/);
  });
});
