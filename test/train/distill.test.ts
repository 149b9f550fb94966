import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { defineConfig, type RunConfigInput } from '../../src/config/index.js';
import { type Batch, IGNORE } from '../../src/data/index.js';
import { createModel, disposeModel, parametersOf, trainedParameters } from '../../src/models/codec.js';
import type { Model } from '../../src/models/family.js';
import { loadModel } from '../../src/models/folder.js';
import { forward } from '../../src/models/forward.js';
import { bert, distilbert } from '../../src/models/index.js';
import { AdamW } from '../../src/optim/adamw.js';
import { device, differentiate, resetGradients, scope, tensorsIn } from '../../src/tensor/index.js';
import { loadTokenizer } from '../../src/tokenizer/index.js';
import { beginAsTeacher, type Teacher } from '../../src/train/distill.js';
import { languageModelLoss } from '../../src/train/loss.js';
import { pretrain } from '../../src/train/pretrain.js';
import { StepGraphs, trainStep } from '../../src/train/step.js';
import { expectToGoOn } from './going_on.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-distill-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const cpu = device('cpu');

const [VOCABULARY, WIDTH, ROWS, LENGTH] = [40, 16, 2, 20] as const;
const sizes = { vocabulary: VOCABULARY, hidden: WIDTH, heads: 2, inner: 32, context: 32, deviation: 0.3 };
const teacherOf = (layers = 4): Model =>
  createModel(
    bert,
    { ...bert.presets['bert-tiny']!, ...sizes, layers, relation: false },
    { device: cpu, dtype: 'f32', seed: 7 },
  ) as unknown as Model;
const studentOf = (layers = 2, dtype: 'f32' | 'bf16' = 'f32'): Model =>
  createModel(
    distilbert,
    { ...distilbert.presets['distilbert-base']!, ...sizes, layers },
    { device: cpu, dtype, seed: 3, train: true },
  ) as unknown as Model;

const ids = Int32Array.from({ length: ROWS * LENGTH }, (_, i) => 5 + ((i * 11) % 35));
const hidden = [3, 7, 19, 20, 38];
const batch: Batch = {
  rows: ROWS,
  length: LENGTH,
  ids,
  targets: ids.map((_, r) => (hidden.includes(r) ? 5 + ((r * 3) % 35) : IGNORE)),
  documentStart: new Int32Array(ROWS * LENGTH),
  trainedTokens: hidden.length,
  targetsPerRow: 4,
  bytes: 0,
};
const weights = { temperature: 2, soft: 5, words: 2, cosine: 1 } as const;

/** The parts of the loss, in float64 from the logits and hidden states of whole passes. */
function reference(student: Model, teacher: Model, tau: number) {
  const passOf = (model: Model) => forward(model, { shape: [ROWS, LENGTH], inputIds: ids, labels: batch.targets }, cpu);
  const [s, t] = [passOf(student), passOf(teacher)];
  const row = (values: Float32Array, r: number, width: number) => [...values.subarray(r * width, (r + 1) * width)];
  const logSoftmax = (logits: readonly number[]) => {
    const most = Math.max(...logits);
    const sum = Math.log(logits.reduce((all, x) => all + Math.exp((x - most) / tau), 0));
    return logits.map((x) => (x - most) / tau - sum);
  };
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
  let [soft, cosine] = [0, 0];
  for (let r = 0; r < ROWS * LENGTH; r++) {
    const [ls, lt] = [logSoftmax(row(s.logits, r, VOCABULARY)), logSoftmax(row(t.logits, r, VOCABULARY))];
    soft += (tau * tau * lt.reduce((sum, p, v) => sum + Math.exp(p) * (p - ls[v]!), 0)) / ROWS / LENGTH;
    const [h, g] = [row(s.hidden.at(-1)!, r, WIDTH), row(t.hidden.at(-1)!, r, WIDTH)];
    cosine += (1 - dot(h, g) / Math.sqrt(dot(h, h) * dot(g, g))) / ROWS / LENGTH;
  }
  return { soft, cosine, words: s.loss! };
}

/** The loss of training, and its gradient by the path of each weight. */
function trained(student: Model, teacher: Teacher) {
  return scope(() => {
    resetGradients(tensorsIn(student.weights).filter((t) => t.requiresGrad));
    const { main, distilled: d } = differentiate(() => {
      const all = languageModelLoss(student, batch, { device: cpu, trainedTokens: batch.trainedTokens, teacher });
      return {
        ...all,
        losses: [all.main, ...all.distilled!.soft, ...(all.distilled!.cosine ? [all.distilled!.cosine] : [])],
      };
    });
    const soft = d!.soft[0].item() + d!.soft[1].item() + d!.offset.item();
    const cosine = d!.cosine ? teacher.cosine + d!.cosine.item() : 0;
    const gradients = new Map(
      parametersOf(student).map(({ path, tensor }) => [path, tensor.gradient?.value(tensor.shape)?.read()]),
    );
    return { words: main.item(), soft, cosine, gradients };
  });
}

describe('distillation', () => {
  it.each([1, 2])('is the divergence, the loss on words and the angle, at temperature %d', (temperature) => {
    const [student, model] = [studentOf(), teacherOf()];
    const expected = reference(student, model, temperature);
    const own = trained(student, { ...weights, temperature, model });
    expect(own.words / 2).toBeCloseTo(expected.words, 5);
    expect(own.soft / 5).toBeCloseTo(expected.soft, 4);
    expect(own.cosine).toBeCloseTo(expected.cosine, 5);
    expect(expected.soft).toBeGreaterThan(0.1);
    for (const of of [student, model]) disposeModel(of);
  });

  it('has the gradient of that sum, in every weight', () => {
    const [student, model] = [studentOf(), teacherOf()];
    const { gradients } = trained(student, { ...weights, model });
    const total = () => {
      const { soft, cosine, words } = reference(student, model, 2);
      return 5 * soft + 2 * words + cosine;
    };
    for (const { path, tensor } of parametersOf(student)) {
      const gradient = gradients.get(path);
      const before = tensor.read();
      // Along the gradient itself, the slope is its length.
      const size = Math.sqrt(gradient!.reduce((sum, g) => sum + g * g, 0));
      if (size < 1e-2) continue; // biases of keys have none
      const along = (step: number) => {
        tensor.write(before.map((w, i) => w + (step * gradient![i]!) / size));
        return total();
      };
      const slope = (along(1e-2) - along(-1e-2)) / 2e-2;
      tensor.write(before);
      expect(Math.abs(slope / size - 1), path).toBeLessThan(0.02);
    }
    for (const of of [student, model]) disposeModel(of);
  });

  it('asks nothing of a student that says what its teacher says', () => {
    const teacher = teacherOf();
    const student = createModel(bert, teacher.config as never, { device: cpu, dtype: 'f32', seed: 7, train: true });
    const own = trained(student as unknown as Model, { ...weights, words: 1e-9, model: teacher });
    expect(Math.abs(own.soft)).toBeLessThan(1e-4);
    expect(Math.abs(own.cosine)).toBeLessThan(1e-5);
    for (const [path, gradient] of own.gradients)
      for (const g of gradient ?? []) expect(Math.abs(g), path).toBeLessThan(1e-5);
    for (const of of [student as unknown as Model, teacher]) disposeModel(of);
  });

  it('is the same in micro-batches and recorded steps, and draws the student near', () => {
    const model = teacherOf();
    const ways = [
      { accumulate: 1, recorded: false, cosine: 1 },
      { accumulate: 2, recorded: true, cosine: 1 },
      { accumulate: 1, recorded: true, cosine: 0 },
    ];
    const [first, second, third] = ways.map(({ accumulate, recorded, cosine }) => {
      const student = studentOf();
      const optimizer = new AdamW(trainedParameters(student), { decay: 0 }, cpu);
      const graphs = recorded ? new StepGraphs() : undefined;
      const rest = { device: cpu, lr: 3e-3, clip: 5, mtpWeight: 0, balance: false, recompute: false, biasSpeed: 0 };
      const teacher = { ...weights, cosine, model };
      const steps = Array.from({ length: 80 }, () =>
        trainStep(student, optimizer, batch, { ...rest, accumulate, teacher }, graphs),
      );
      graphs?.dispose();
      optimizer.dispose();
      disposeModel(student);
      return steps;
    }) as [ReturnType<typeof trainStep>[], ReturnType<typeof trainStep>[], ReturnType<typeof trainStep>[]];
    for (const [i, step] of second.slice(0, 5).entries())
      for (const name of ['loss', 'softLoss', 'cosineLoss'] as const)
        expect(step[name]).toBeCloseTo(first[i]![name]!, 3);
    expect(first.at(-1)!.softLoss).toBeLessThan(first[0]!.softLoss! / 3);
    expect(first.at(-1)!.cosineLoss).toBeLessThan(first[0]!.cosineLoss! / 2);
    expect(third.at(-1)!.cosineLoss).toBeUndefined();
    disposeModel(model);
  });

  it('is the same in bf16 but for rounding', () => {
    const model = teacherOf();
    const [exact, rounded] = (['f32', 'bf16'] as const).map((dtype) => {
      const student = studentOf(2, dtype);
      const own = trained(student, { ...weights, model });
      disposeModel(student);
      return own;
    }) as [ReturnType<typeof trained>, ReturnType<typeof trained>];
    for (const part of ['words', 'soft', 'cosine'] as const)
      expect(Math.abs(rounded[part] / exact[part] - 1)).toBeLessThan(0.05);
    disposeModel(model);
  });

  it('begins with layers spread over those of the teacher: 0, 2, 4, 7, 9 and 11 of twelve', () => {
    const [student, teacher] = [studentOf(6), teacherOf(12)];
    beginAsTeacher(student, teacher);
    const of = new Map(parametersOf(teacher).map(({ path, tensor }) => [path, tensor.read()]));
    const found = parametersOf(student).map(({ path, tensor }) => [path, tensor.read()] as const);
    for (const [path, values] of found) {
      const layer = /^layers\.(\d+)\.(.*)/.exec(path);
      const from = layer ? `layers.${[0, 2, 4, 7, 9, 11][Number(layer[1])]}.${layer[2]}` : path;
      expect(values, path).toEqual(of.get(from));
    }
    const wider = createModel(
      distilbert,
      { ...distilbert.presets['distilbert-base']!, ...sizes, layers: 2, inner: 48 },
      { device: cpu, dtype: 'f32', seed: 3 },
    ) as unknown as Model;
    expect(() => beginAsTeacher(wider, teacher)).toThrow(
      /^The student's layers\.0\.\S+ is \[\S+\], the teacher's \[\S+\], so that it cannot begin with it/,
    );
    for (const model of [student, teacher, wider]) disposeModel(model);
  });
});

describe('pretrain with a teacher', () => {
  const text = join(folder, 'text.jsonl');
  const animals = ['cat', 'dog', 'cow', 'hen', 'fox', 'owl'];
  const sounds = ['purrs', 'barks', 'moos', 'clucks', 'yelps', 'hoots'];
  const documents = Array.from({ length: 60 }, (_, i) => `The ${animals[i % 6]} ${sounds[i % 6]}.\n`.repeat(40));
  writeFileSync(text, documents.map((of, i) => JSON.stringify({ text: `${i}\n${of}` })).join('\n'));
  const run = (preset: string, out: string, steps: number, more: RunConfigInput = {}) =>
    defineConfig({
      preset,
      out,
      device: 'cpu',
      data: { sources: [text], validation: 0, pairs: 'none', ...more.data },
      tokenizer: { vocabSize: 320 },
      model: { hidden: 64, layers: 4, heads: 4, inner: 128, context: 40, deviation: 0.1, ...(more.model as object) },
      train: {
        steps,
        rows: 8,
        length: 40,
        accumulate: 2,
        optimizer: { lr: 1e-3, decay: 0.01 },
        schedule: { kind: 'cosine', warmup: 20 },
        ...more.train,
      },
      distill: { ...more.distill },
      evaluate: { every: 0 },
      save: { every: 0 },
      log: { tensorboard: false },
    });
  const taught = join(folder, 'teacher');
  const student = (out: string, steps: number, more: RunConfigInput = {}) =>
    run('distilbert-base', out, steps, {
      ...more,
      model: { layers: 2, ...(more.model as object) },
      distill: { teacher: taught, ...more.distill },
    });
  const recorded = (out: string, name: string) =>
    readFileSync(join(out, 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as Record<string, number>)[name]!);
  const mean = (of: readonly number[]) => of.reduce((a, b) => a + b) / of.length;

  it('makes a student that comes near its teacher, with its vocabulary, and goes on to the same bits', async () => {
    const { checkpoint: teacher } = await pretrain(run('bert-tiny', taught, 200));
    const { whole } = await expectToGoOn((out) => student(out, 60), folder, 20);
    for (const name of ['train/soft_loss', 'train/cosine_loss']) {
      const losses = recorded(join(folder, 'whole'), name);
      expect(mean(losses.slice(-5)), name).toBeLessThan(mean(losses.slice(0, 5)) * 0.6);
    }
    const model = loadModel(whole.checkpoint!, { device: cpu });
    expect(model.family.name).toBe('distilbert');
    expect(model.hubConfig.values).toMatchObject({ architectures: ['DistilBertForMaskedLM'], n_layers: 2 });
    disposeModel(model);
    expect(loadTokenizer(whole.checkpoint!).fingerprint).toBe(loadTokenizer(teacher!).fingerprint);
    const other = join(folder, 'other');
    await pretrain(run('bert-tiny', other, 2));
    await expect(pretrain(student(join(folder, 'whole'), 80, { distill: { teacher: other } }))).rejects.toThrow(
      /another teacher/,
    );
  });

  it('is told what does not fit it, before any text is tokenised', async () => {
    const out = join(folder, 'refused');
    const fails = (config: ReturnType<typeof run>) => expect(pretrain(config)).rejects;
    await fails(run('gpt2-nano', out, 2, { distill: { teacher: taught }, model: { context: 64 } })).toThrow(
      /^distill\.teacher is for encoders; the model is of the family gpt2; leave it out\.$/,
    );
    await fails(run('bert-tiny', out, 2, { data: { pairs: 'next' }, distill: { teacher: taught } })).toThrow(
      /^data\.pairs = next is not learnt from a teacher/,
    );
    await fails(student(out, 2, { distill: { teacher: join(folder, 'nowhere') } })).toThrow(/does not exist/);
    expect(existsSync(join(out, 'tokenizer.json'))).toBe(false);
    await fails(student(out, 2, { model: { hidden: 32 } })).toThrow(/is 64 channels wide, the student 32/);
    await fails(student(out, 2, { train: { length: 48 }, model: { context: 48 } })).toThrow(
      /reads 40 tokens, but train\.length = 48/,
    );
    await fails(student(out, 2, { model: { vocabulary: 400 } })).toThrow(/has 306 tokens, the student 400/);
    await fails(student(out, 2, { model: { inner: 96 } })).toThrow(/set distill\.begin to false/);
    const narrow = { hidden: 32, inner: 96 };
    const { checkpoint } = await pretrain(student(out, 2, { model: narrow, distill: { cosine: 0, begin: false } }));
    expect(existsSync(checkpoint!)).toBe(true);
    const decoder = join(folder, 'decoder');
    await pretrain(
      defineConfig({
        ...run('gpt2-nano', decoder, 1),
        data: { sources: [text], validation: 0 },
        model: { hidden: 16, layers: 1, heads: 2, inner: 16 },
      }),
    );
    await fails(student(join(folder, 'refused2'), 2, { distill: { teacher: decoder } })).toThrow(
      /is a gpt2 model; give an encoder/,
    );
  });
});
