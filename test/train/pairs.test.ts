import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { runEvaluation } from '../../src/cli/model/evaluate.js';
import { defineConfig, type RunConfigInput } from '../../src/config/index.js';
import { type Batch, IGNORE } from '../../src/data/index.js';
import { createModel, disposeModel, hubTensors, trainedParameters } from '../../src/models/codec.js';
import type { Family, Model } from '../../src/models/family.js';
import { loadModel } from '../../src/models/folder.js';
import { forward } from '../../src/models/forward.js';
import { families } from '../../src/models/index.js';
import { AdamW } from '../../src/optim/adamw.js';
import { device, differentiate, resetGradients, scope, tensorsIn, zeros } from '../../src/tensor/index.js';
import { loadTokenizer } from '../../src/tokenizer/index.js';
import { languageModelLoss } from '../../src/train/loss.js';
import { pretrain } from '../../src/train/pretrain.js';
import { StepGraphs, trainStep } from '../../src/train/step.js';
import { largestGradient, maxError, openGolden } from '../models/golden.js';
import { sharedPath } from '../shared.js';
import { expectToGoOn } from './going_on.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-pairs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const cpu = device('cpu');

const sizes = { vocabulary: 40, hidden: 16, layers: 2, heads: 2, inner: 32, context: 32, deviation: 0.15 };
const judges = families.filter(({ encoder }) => encoder?.relationNames);
function tiny(family: Family): Model {
  const [preset] = Object.values(family.presets) as [object];
  const narrow = 'embedding' in preset ? { embedding: 8, groups: 1 } : {};
  return createModel(family, { ...preset, ...sizes, ...narrow }, { device: cpu, dtype: 'f32', seed: 3, train: true });
}

/** Four rows of 12 tokens, of which the last ones are padding, with types and hidden tokens. */
const [ROWS, LENGTH] = [4, 12] as const;
const ids = Int32Array.from({ length: ROWS * LENGTH }, (_, i) => 5 + ((i * 11) % 35));
const ends = [12, 9, 10, 7];
const hidden = [3, 7, 13, 25, 30, 40];
const batch: Batch = {
  rows: ROWS,
  length: LENGTH,
  ids,
  targets: ids.map((_, r) => (hidden.includes(r) ? 5 + ((r * 3) % 35) : IGNORE)),
  types: ids.map((_, r) => (r % LENGTH >= 4 && r % LENGTH < ends[Math.floor(r / LENGTH)]! ? 1 : 0)),
  documentStart: ids.map((_, r) => (r % LENGTH < ends[Math.floor(r / LENGTH)]! ? 0 : ends[Math.floor(r / LENGTH)]!)),
  relations: Int32Array.of(0, 1, 1, 0),
  trainedTokens: hidden.length,
  targetsPerRow: 3,
  bytes: 0,
};

/** Both losses of training and the gradients of their sum, under the names on disk. */
function trained(model: Model, of: Batch) {
  return scope(() => {
    resetGradients(tensorsIn(model.weights).filter((t) => t.requiresGrad));
    const { main, relation } = differentiate(() => {
      const all = languageModelLoss(model, of, { device: cpu, trainedTokens: of.trainedTokens });
      return { ...all, losses: [all.main, all.relation!] };
    });
    const none = (shape: readonly number[]) => zeros(shape, { device: cpu }).read();
    const values = hubTensors(model, (t) => t.gradient?.value(t.shape)?.read() ?? none(t.shape));
    return { loss: main.item() + relation!.item(), gradients: new Map(values.map((t) => [t.name, t.values()])) };
  });
}

describe.each(judges.map((family) => [family.name, family] as const))('training %s on pairs', (_, family) => {
  it('takes both losses and the gradients of the whole forward pass', () => {
    const model = tiny(family);
    const whole = forward(
      model,
      {
        shape: [ROWS, LENGTH],
        inputIds: ids,
        attentionMask: ids.map((_id, r) => (r % LENGTH < ends[Math.floor(r / LENGTH)]! ? 1 : 0)),
        tokenTypeIds: batch.types!,
        labels: batch.targets,
        relationLabels: batch.relations!,
      },
      cpu,
      true,
    );
    const own = trained(model, batch);
    expect(own.loss).toBeCloseTo(whole.loss!, 5);
    const largest = Math.max(...[...whole.gradients!.values()].map(({ values }) => Math.max(...values.map(Math.abs))));
    for (const [name, { values }] of whole.gradients!)
      expect(maxError(own.gradients.get(name)!, values, 1e-3 * largest), name).toBeLessThan(1e-4);
    disposeModel(model);
  });

  it('learns both by heart, in micro-batches and recorded steps as in others', () => {
    const ways = [
      { accumulate: 1, recorded: false },
      { accumulate: 4, recorded: true },
    ];
    const all = ways.map(({ accumulate, recorded }) => {
      const model = tiny(family);
      const optimizer = new AdamW(trainedParameters(model), { decay: 0 }, cpu);
      const graphs = recorded ? new StepGraphs() : undefined;
      const rest = { device: cpu, lr: 3e-3, clip: 1, mtpWeight: 0, balance: true, recompute: false, biasSpeed: 0 };
      const steps = Array.from({ length: 60 }, () =>
        trainStep(model, optimizer, batch, { ...rest, accumulate }, graphs),
      );
      graphs?.dispose();
      optimizer.dispose();
      disposeModel(model);
      expect(steps.every(({ balanceLoss }) => balanceLoss === 0)).toBe(true);
      return steps.map(({ loss, relationLoss }) => [loss, relationLoss!] as const);
    }) as [(readonly [number, number])[], (readonly [number, number])[]];
    for (const i of [0, 1]) expect(all[0].at(-1)![i]!).toBeLessThan(all[0][0]![i]! / 2);
    for (const [n, step] of all[1].slice(0, 5).entries())
      for (const i of [0, 1]) expect(step[i]!).toBeCloseTo(all[0][n]![i]!, 4);
  });
});

const root = sharedPath('golden');
describe.skipIf(!root)('parity with transformers (skipped where the shared goldens are not laid out)', () => {
  it.each(['bert', 'bert-small', 'albert', 'albert-small', 'megatron-bert', 'megatron-bert-small'])(
    "gives the loss and gradients of transformers' model for pre-training: %s",
    (name) => {
      const at = join(root!, name);
      const golden = openGolden(at);
      const model = loadModel(at, { device: cpu, train: true });
      const [rows, length] = golden.shape('input_ids') as [number, number];
      const mask = golden.has('attention_mask') ? golden.ints('attention_mask') : new Int32Array(rows * length).fill(1);
      const end = (row: number) => mask.subarray(row * length, (row + 1) * length).lastIndexOf(1) + 1;
      const targets = golden.ints('labels');
      const own = trained(model, {
        rows,
        length,
        ids: golden.ints('input_ids'),
        targets,
        types: golden.ints('token_type_ids'),
        documentStart: mask.map((m, r) => (m ? 0 : end(Math.floor(r / length)))),
        relations: golden.ints(golden.has('next_sentence_label') ? 'next_sentence_label' : 'sentence_order_label'),
        trainedTokens: targets.filter((t) => t !== IGNORE).length,
        bytes: 0,
      });
      for (let row = 0; row < rows; row++) expect(mask[row * length]).toBe(1); // padding is on the right
      expect(Math.abs(own.loss - golden.floats('loss')[0]!)).toBeLessThan(1e-5);
      const largest = largestGradient(golden);
      for (const stored of golden.names().filter((n) => n.startsWith('grad.')))
        expect(
          maxError(own.gradients.get(stored.slice('grad.'.length))!, golden.floats(stored), 1e-3 * largest),
          stored,
        ).toBeLessThan(3e-4);
      disposeModel(model);
    },
  );
});

describe('pretrain on pairs', () => {
  /** Each document repeats a sentence of its own, so that texts of two documents are told apart by their words. */
  const text = join(folder, 'text.jsonl');
  const animals = ['cat', 'dog', 'cow', 'hen', 'fox', 'owl'];
  const sounds = ['purrs', 'barks', 'moos', 'clucks', 'yelps', 'hoots'];
  const documents = Array.from({ length: 60 }, (_, i) => `The ${animals[i % 6]} ${sounds[i % 6]}.\n`.repeat(20 + i));
  writeFileSync(text, documents.map((of) => JSON.stringify({ text: of })).join('\n'));
  const run = (out: string, steps: number, more: RunConfigInput = {}) =>
    defineConfig({
      preset: 'bert-tiny',
      out,
      device: 'cpu',
      data: { sources: [text], validation: 0.1, ...more.data },
      tokenizer: { vocabSize: 320, ...more.tokenizer },
      model: { hidden: 64, layers: 2, heads: 4, inner: 128, deviation: 0.1, ...(more.model as object) },
      train: {
        steps,
        rows: 8,
        length: 40,
        accumulate: 2,
        optimizer: { lr: 1e-3, decay: 0.01 },
        schedule: { kind: 'cosine', warmup: 20 },
        ...more.train,
      },
      evaluate: { every: 0, windows: 64 },
      save: { every: 0 },
      log: { tensorboard: false },
    });
  const recorded = (out: string) =>
    readFileSync(join(out, 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, number>);

  it('tells whether texts belong together, and its folder comes back with the head, which eval scores', async () => {
    const out = join(folder, 'learns');
    const end = await pretrain(run(out, 600));
    const losses = recorded(out).flatMap((line) => line['train/relation_loss'] ?? []);
    const mean = (of: readonly number[]) => of.reduce((a, b) => a + b) / of.length;
    expect(losses).toHaveLength(600);
    expect(mean(losses.slice(-30))).toBeLessThan(mean(losses.slice(0, 30)) / 2);
    expect(mean(end.losses.slice(-30).map(([, loss]) => loss))).toBeLessThan(end.losses[0]![1] / 2);
    expect(end.evaluation!.relation!.accuracy).toBeGreaterThan(0.8);
    const at = end.checkpoint!;
    expect(JSON.parse(readFileSync(join(at, 'config.json'), 'utf8'))).toMatchObject({
      architectures: ['BertForPreTraining'],
    });
    const tokenizer = loadTokenizer(at);
    const { ids: both, typeIds } = tokenizer.withSpecials([7, 8], [9]);
    expect([...both]).toEqual([0, 7, 8, 2, 9, 2]); // as it was trained
    expect([...typeIds]).toEqual([0, 0, 0, 0, 1, 1]);
    const held = join(folder, 'held.jsonl');
    writeFileSync(
      held,
      documents
        .slice(30)
        .map((of) => JSON.stringify({ text: of }))
        .join('\n'),
    );
    const score = await runEvaluation({
      model: at,
      device: 'cpu',
      dtype: 'f32',
      data: [held],
      field: 'text',
      length: 40,
      rows: 5,
      windows: 64,
    });
    expect(score.relation).toMatchObject({ pairs: 64 });
    expect(score.relation!.accuracy).toBeGreaterThan(0.8);
  });

  it('of ALBERT swaps them and hides whole words, and goes on after a stop to the same bits', async () => {
    const albert = (out: string, steps: number) =>
      defineConfig({ ...run(out, steps), preset: 'albert-base', data: { sources: [text], validation: 0 } });
    expect(albert(folder, 6).data).toMatchObject({ pairs: 'order', wholeWords: 3 });
    const { goneOn } = await expectToGoOn((out) => albert(out, 6), folder);
    expect(recorded(join(folder, 'stopped')).map((line) => line['train/relation_loss'])).toEqual(
      recorded(join(folder, 'whole')).map((line) => line['train/relation_loss']),
    );
    expect(JSON.parse(readFileSync(join(goneOn.checkpoint!, 'config.json'), 'utf8'))).toMatchObject({
      architectures: ['AlbertForPreTraining'],
    });
  });

  it('is left out where nobody asks for it, and so is its head', async () => {
    const out = join(folder, 'words');
    const { checkpoint } = await pretrain(run(out, 2, { data: { pairs: 'none' } }));
    expect(JSON.parse(readFileSync(join(checkpoint!, 'config.json'), 'utf8'))).toMatchObject({
      architectures: ['BertForMaskedLM'],
    });
    expect(recorded(out).some((line) => 'train/relation_loss' in line)).toBe(false);
  });

  it('is told what does not fit it, before any text is tokenised', async () => {
    const out = join(folder, 'refused');
    const nowhere = { sources: ['nowhere'] };
    const refused = (preset: string, data: RunConfigInput['data']) =>
      expect(pretrain(defineConfig({ preset, out, device: 'cpu', data: { ...nowhere, ...data } }))).rejects;
    await refused('roberta-nano', { pairs: 'next' }).toThrow(
      /^data\.pairs = next is for families that judge pairs of texts, which roberta does not; leave it out\.$/,
    );
    await refused('distilbert-base', { pairs: 'order' }).toThrow(/which distilbert does not/);
    await refused('gpt2-nano', { pairs: 'next' }).toThrow(/which gpt2 does not/);
    await refused('gpt2-nano', { wholeWords: 3 }).toThrow(/^data\.wholeWords = 3 is for encoders; the model is of the/);
    expect(existsSync(out)).toBe(false);
    await expect(pretrain(run(out, 2, { model: { relation: false } }))).rejects.toThrow(
      /^data\.pairs = next asks a bert model for its head that judges pairs/,
    );
    await expect(pretrain(run(out, 2, { train: { length: 4 } }))).rejects.toThrow(/too short for pairs; give 5/);
    const vocabulary = join(folder, 'no-cls');
    mkdirSync(vocabulary);
    writeFileSync(join(vocabulary, 'vocab.txt'), ['[PAD]', '[UNK]', '[SEP]', '[MASK]', 'a'].join('\n'));
    await expect(pretrain(run(out, 2, { tokenizer: { path: vocabulary } }))).rejects.toThrow(
      /has no token \[CLS\], with which pairs are built/,
    );
    expect(existsSync(join(out, 'cache'))).toBe(false);
  });
});
