import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { defineConfig } from '../../src/config/index.js';
import { openTokens } from '../../src/data/index.js';
import { TrainMoeError } from '../../src/errors.js';
import { openSafetensors } from '../../src/hub/safetensors.js';
import { disposeModel, parametersOf } from '../../src/models/codec.js';
import { contextOf } from '../../src/models/family.js';
import { loadModel } from '../../src/models/folder.js';
import { device, memoryOf } from '../../src/tensor/index.js';
import { loadTokenizer } from '../../src/tokenizer/index.js';
import { evaluate } from '../../src/train/evaluate.js';
import type { TrainEvent } from '../../src/train/events.js';
import { modelConfigFor } from '../../src/train/model_config.js';
import { pretrain } from '../../src/train/pretrain.js';
import { saveCheckpoint } from '../../src/train/run/checkpoint.js';
import { tinyRun } from './tiny.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-run-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Everything that the run would go on from, as bytes. */
const stateOf = (checkpoint: string) => ({
  weights: readFileSync(join(checkpoint, 'model.safetensors')),
  trainer: readFileSync(join(checkpoint, 'trainer', 'state.safetensors')),
  place: readFileSync(join(checkpoint, 'trainer', 'state.json'), 'utf8'),
});

describe('pretrain', () => {
  it('learns, records every step, and leaves a folder that loads as a model', async () => {
    const out = join(folder, 'learns');
    const events: TrainEvent[] = [];
    const before = memoryOf(device('cpu'));
    const end = await pretrain(
      tinyRun(out, {
        train: { steps: 60, rows: 4, length: 24, optimizer: { lr: 1e-2 } },
        data: { sources: tinyRun(out).data.sources, validation: 0.2 },
      }),
      {
        onEvent: (e) => events.push(e),
      },
    );
    expect(end.step).toBe(60);
    expect(end.losses.at(-1)![1]).toBeLessThan(end.losses[0]![1] - 1);
    expect(end.evaluation!.bitsPerByte).toBeGreaterThan(0);
    expect(end.loads[0]![1].reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
    const lines = readFileSync(join(out, 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l));
    expect(lines.filter((l) => 'train/loss' in l).map((l) => l.step)).toEqual(
      Array.from({ length: 60 }, (_, i) => i + 1),
    );
    expect(events.map((e) => e.kind)).toEqual(
      expect.arrayContaining(['note', 'start', 'step', 'saved', 'evaluation', 'end']),
    );
    // Nothing of the run stays in memory but the tables of rotary positions.
    const after = memoryOf(device('cpu'));
    expect(after.tensors - before.tensors).toBeLessThanOrEqual(1);
    const model = loadModel(end.checkpoint!, { device: device('cpu') });
    expect(parametersOf(model).length).toBeGreaterThan(10);
    expect(model.config).toEqual(modelConfigFor(tinyRun(out), 300).config);
    expect(model.config).toMatchObject({ biasSpeed: 0.005 }); // of the preset, not what the family does by default
    disposeModel(model);
    // Nor does a model whose weights turn out to be missing.
    const held = memoryOf(device('cpu')).tensors;
    const other = join(folder, 'lacking');
    cpSync(end.checkpoint!, other, { recursive: true });
    const hub = JSON.parse(readFileSync(join(other, 'config.json'), 'utf8'));
    writeFileSync(join(other, 'config.json'), JSON.stringify({ ...hub, num_hidden_layers: hub.num_hidden_layers + 1 }));
    expect(() => loadModel(other, { device: device('cpu') })).toThrow(/The checkpoint lacks model\.layers/);
    expect(memoryOf(device('cpu')).tensors).toBe(held);
  });

  it('goes on after a stop, to the same bits as without one', async () => {
    const whole = await pretrain(tinyRun(join(folder, 'whole')));
    let steps = 0;
    const out = join(folder, 'stopped');
    const first = await pretrain(tinyRun(out), { shouldStop: () => ++steps === 5 });
    expect([first.step, first.stopped]).toEqual([5, true]);
    const second = await pretrain(tinyRun(out), { shouldStop: () => ++steps === 9 });
    expect(second.step).toBe(9);
    const last = await pretrain(tinyRun(out));
    expect(last.losses.map(([step]) => step)).toEqual([10, 11, 12]);
    expect(stateOf(last.checkpoint!)).toEqual(stateOf(whole.checkpoint!));
    const recorded = readFileSync(join(out, 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l).step);
    expect(recorded).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
  });

  it('goes on with averages, bf16 weights and moments, documents apart, fill-in-the-middle and a batch ramp', async () => {
    const special = (out: string) =>
      tinyRun(out, {
        train: {
          steps: 8,
          rows: 6,
          length: 24,
          accumulate: 2,
          dtype: 'bf16',
          ema: 0.9,
          rowsRamp: { from: 2, steps: 5 },
          recompute: true,
          optimizer: { lr: 3e-3, moments: 'bf16' },
          schedule: { kind: 'v3', warmup: 2 },
        },
        data: { sources: tinyRun(out).data.sources, validation: 0, packing: 'documents', fim: 0.5 },
        model: { ...(tinyRun(out).model as object), mtpLayers: 1 },
      });
    const whole = await pretrain(special(join(folder, 'special')));
    let steps = 0;
    const out = join(folder, 'special-stopped');
    await pretrain(special(out), { shouldStop: () => ++steps === 3 });
    const last = await pretrain(special(out));
    expect(stateOf(last.checkpoint!)).toEqual(stateOf(whole.checkpoint!));
    expect(readFileSync(join(last.checkpoint!, 'ema', 'model.safetensors'))).toEqual(
      readFileSync(join(whole.checkpoint!, 'ema', 'model.safetensors')),
    );
  });

  it('goes on with 8-bit moments and weights without masters', async () => {
    const small = (out: string) =>
      tinyRun(out, {
        train: {
          steps: 6,
          rows: 2,
          length: 24,
          dtype: 'bf16',
          optimizer: { lr: 3e-3, moments: 'u8', master: false },
          schedule: { kind: 'constant', warmup: 0 },
        },
      });
    const whole = await pretrain(small(join(folder, 'small')));
    let steps = 0;
    const out = join(folder, 'small-stopped');
    await pretrain(small(out), { shouldStop: () => ++steps === 3 });
    const last = await pretrain(small(out));
    expect(stateOf(last.checkpoint!)).toEqual(stateOf(whole.checkpoint!));
  });

  it('refuses a second trainer in the same folder and says who the first is', async () => {
    const config = tinyRun(join(folder, 'busy'));
    let second: Promise<unknown> | undefined;
    await pretrain(config, {
      onEvent: ({ kind }) => {
        if (kind === 'start') second = pretrain(config).catch((error) => error);
      },
    });
    const error = (await second) as TrainMoeError;
    expect(error).toBeInstanceOf(TrainMoeError);
    expect(error.code).toBe('busy');
    expect(error.message).toMatch(/is in use: this process has trained in it since .*\. Await that run/);
  });

  it('stops before the update when the loss is not finite, and saves the batch', async () => {
    const out = join(folder, 'diverges');
    const config = tinyRun(out, {
      train: {
        steps: 12,
        rows: 4,
        length: 24,
        clip: 1e30,
        optimizer: { lr: 1e30 },
        schedule: { kind: 'constant', warmup: 0 },
      },
      save: { every: 1, keep: 3 },
    });
    const error = (await pretrain(config).catch((e) => e)) as TrainMoeError;
    expect(error.code).toBe('not-finite');
    const step = Number(/Step (\d+)/.exec(error.message)![1]);
    expect(existsSync(join(out, `replay-step-${step}`, 'batch.json'))).toBe(true);
    const file = openSafetensors(join(out, 'checkpoints', 'latest', 'model.safetensors'));
    file.close();
    expect(JSON.parse(readFileSync(join(out, 'checkpoints', 'latest', 'trainer', 'state.json'), 'utf8')).step).toBe(
      step - 1,
    );
  });

  it('says so when the folder holds another model', async () => {
    const out = join(folder, 'other');
    await pretrain(tinyRun(out));
    const error = (await pretrain(
      tinyRun(out, {
        model: { ...(tinyRun(out).model as object), hidden: 24 },
        train: { steps: 20, rows: 4, length: 24 },
      }),
    ).catch((e) => e)) as TrainMoeError;
    expect(error.message).toContain(
      `The run in ${out} was begun with --model.hidden 16 (now 24), which decides what it becomes`,
    );
    expect(error.code).toBe('bad-config');
  });

  const notesOf = async (config: Parameters<typeof pretrain>[0]): Promise<string> => {
    const notes: string[] = [];
    await pretrain(config, { onEvent: (e) => e.kind === 'note' && notes.push(e.sentence) });
    return notes.join(' ');
  };

  it('goes on to another end, and refuses other text and other settings', async () => {
    const out = join(folder, 'changed');
    const run = (steps: number, data: object = {}, train: object = {}) =>
      tinyRun(out, {
        train: { steps, rows: 4, length: 24, ...train },
        data: { ...tinyRun(out).data, ...data },
      });
    await pretrain(run(3));
    expect(await notesOf(run(5))).toContain('It was begun with --train.steps 3 (now 5).');
    expect(await notesOf(run(5, {}, { accumulate: 2, recompute: true }))).not.toContain('begun');
    const [native] = tinyRun(out).data.sources.slice(1);
    await expect(pretrain(run(7, { sources: [native!] }))).rejects.toThrow(
      'was begun with another text: give the same',
    );
    await expect(pretrain(run(7, {}, { rows: 8, optimizer: { lr: 1 }, ema: 0.9 }))).rejects.toThrow(
      '--train.rows 4 (now 8), --train.optimizer.lr 0.003 (now 1), no --train.ema (now 0.9), which decide what it becomes',
    );
    expect((await pretrain(run(5))).step).toBe(5);
  });

  it('leaves the event loop its turn between steps', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const end = await pretrain(tinyRun(join(folder, 'turns')));
    clearInterval(timer);
    expect(end.step).toBe(12);
    expect(turns).toBeGreaterThan(6);
  });

  it('takes a tokenizer from a folder, and saves it with its roles', async () => {
    const first = await pretrain(tinyRun(join(folder, 'vocabulary')));
    const last = await pretrain(tinyRun(join(folder, 'borrowed'), { tokenizer: { path: first.checkpoint! } }));
    const config = (folder: string) => JSON.parse(readFileSync(join(folder, 'tokenizer_config.json'), 'utf8'));
    expect(config(last.checkpoint!).eos_token).toBe('<｜end▁of▁sentence｜>');
    expect(config(last.checkpoint!)).toEqual(config(first.checkpoint!));
    const [one, other] = [loadTokenizer(first.checkpoint!), loadTokenizer(last.checkpoint!)];
    expect(other.encode('A small text.')).toEqual(one.encode('A small text.'));
  });

  it('goes on from the model of a folder with a new optimizer: its shape, vocabulary and unknown settings stay', async () => {
    const base = await pretrain(
      tinyRun(join(folder, 'base'), {
        model: { ...(tinyRun('x').model as object), biasSpeed: 0.03, mtpLayers: 1 },
        train: { steps: 60, rows: 4, length: 24, optimizer: { lr: 1e-2 } },
      }),
    );
    const [start, learnt] = [base.losses[0]![1], base.losses.at(-1)![1]];
    expect(learnt).toBeLessThan(start - 1);
    const from = join(folder, 'base-folder');
    cpSync(base.checkpoint!, from, { recursive: true });
    const hub = () => JSON.parse(readFileSync(join(from, 'config.json'), 'utf8'));
    writeFileSync(join(from, 'config.json'), JSON.stringify({ ...hub(), note: 'mine' }));
    const { data, evaluate, save, log } = tinyRun('x');
    const train = { steps: 6, rows: 4, length: 24, optimizer: { lr: 1e-3 }, schedule: { warmup: 0 } };
    const further = (out: string, more: object = {}) =>
      defineConfig({ model: from, device: 'cpu', data, evaluate, save, log, train, out: join(folder, out), ...more });
    const whole = await pretrain(further('further'));
    expect(whole.losses.map(([step]) => step)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(whole.losses[0]![1]).toBeLessThan((start + learnt) / 2);
    expect(JSON.parse(readFileSync(join(whole.checkpoint!, 'config.json'), 'utf8'))).toEqual(hub());
    expect(loadTokenizer(whole.checkpoint!).fingerprint).toBe(loadTokenizer(from).fingerprint);
    let steps = 0;
    await pretrain(further('further-stopped'), { shouldStop: () => ++steps === 3 });
    expect(stateOf((await pretrain(further('further-stopped'))).checkpoint!)).toEqual(stateOf(whole.checkpoint!));
    await expect(
      pretrain(further('further', { model: join(folder, 'base', 'checkpoints', 'latest') })),
    ).rejects.toThrow('was begun with another model');
    await expect(pretrain(further('long', { train: { ...train, length: 2000 } }))).rejects.toThrow(
      /train\.length = 2000, but the context of the model in .*base-folder is \d+ positions/,
    );
    await expect(
      pretrain(further('nowhere', { model: join(folder, 'nowhere-at-all'), data: { sources: [] } })),
    ).rejects.toThrow('does not exist; give a model folder');
  });

  it('refuses data without text, and keeps no vocabulary of it', async () => {
    const out = join(folder, 'empty');
    const empty = join(folder, 'empty.txt');
    writeFileSync(empty, '');
    const nothing = { sources: [empty], validation: 0.5 };
    await expect(pretrain(tinyRun(out, { data: nothing }))).rejects.toThrow(`There is no text in ${empty}`);
    const end = await pretrain(tinyRun(out));
    expect(loadTokenizer(end.checkpoint!).vocabSize).toBe(300);
    await expect(
      pretrain(tinyRun(join(folder, 'held-out'), { data: { sources: tinyRun(out).data.sources, validation: 0.999 } })),
    ).rejects.toThrow(/No document is left to train on: all \d+ are held out by data.validation = 0.999/);
  });

  it('says so when its vocabulary is not of the size that was asked for', async () => {
    const out = join(folder, 'sized');
    await pretrain(tinyRun(out));
    expect(await notesOf(tinyRun(out))).not.toContain('vocabulary');
    const few = tinyRun(join(folder, 'few-pairs'), {
      data: { sources: [join(folder, 'abc.txt')] },
      tokenizer: { vocabSize: 900 },
    });
    writeFileSync(few.data.sources[0]!, 'the cat sat on the mat\n'.repeat(40));
    expect(await notesOf(few)).toMatch(
      /Learnt a vocabulary of (\d+) tokens; the text has no pairs for the other \d+\./,
    );
    expect(await notesOf(few)).not.toContain('vocabulary'); // it is what these settings gave
    const other = tinyRun(out, { tokenizer: { vocabSize: 400 } });
    await expect(pretrain(other)).rejects.toThrow('was begun with --tokenizer.vocabSize 300 (now 400)');
    rmSync(join(out, 'checkpoints'), { recursive: true });
    expect(await notesOf(other)).toContain("The run's own vocabulary of 300 tokens is used, not one of 400");
  });

  it('goes on from a folder that was copied elsewhere', async () => {
    const out = join(folder, 'here');
    const stopped = await pretrain(tinyRun(out), { shouldStop: () => true });
    expect(stopped.step).toBe(1);
    cpSync(out, join(folder, 'there'), { recursive: true, verbatimSymlinks: true });
    const [here, there] = [await pretrain(tinyRun(out)), await pretrain(tinyRun(join(folder, 'there')))];
    expect(stateOf(there.checkpoint!)).toEqual(stateOf(here.checkpoint!));
  });

  it('refuses rows longer than a context that was asked for, also in evaluations', async () => {
    const out = join(folder, 'context');
    const tiny = tinyRun(out).model as object;
    await expect(pretrain(tinyRun(out, { model: { ...tiny, context: 16 } }))).rejects.toThrow(
      'model.context = 16 is shorter than train.length = 24',
    );
    const end = await pretrain(tinyRun(out, { data: { sources: tinyRun(out).data.sources, validation: 0.2 } }));
    const model = loadModel(end.checkpoint!, { device: device('cpu') });
    const caches = readdirSync(join(out, 'cache')).map((name) => openTokens(join(out, 'cache', name)));
    const tokens = caches.find((set) => set.split('validation').tokens > 0)!;
    const options = { device: device('cpu'), rows: 1, windows: 1, packing: 'stream' } as const;
    expect(() => evaluate(model, tokens.split('validation'), { ...options, length: contextOf(model) + 1 })).toThrow(
      /windows have a length of \d+ tokens, but the model reads \d+/,
    );
    disposeModel(model);
  });

  it('refuses a folder of another kind of run, and averages that nothing was kept of', async () => {
    const out = join(folder, 'kinds');
    const end = await pretrain(tinyRun(out));
    const { train } = tinyRun(out);
    await expect(pretrain(tinyRun(out, { train: { ...train, ema: 0.9 } }))).rejects.toThrow('no --train.ema (now 0.9)');
    saveCheckpoint(
      out,
      100,
      (sink) => {
        for (const name of ['config.json', 'model.safetensors'])
          sink.file(name, (write) => write(readFileSync(join(end.checkpoint!, name)), name));
      },
      { keep: 1 },
    );
    await expect(pretrain(tinyRun(out))).rejects.toThrow(/step-00000100 is no checkpoint of pre-training; give --out/);
  });

  it('names the file that stands where its folder should be', async () => {
    const file = join(folder, 'a file');
    writeFileSync(file, '');
    await expect(pretrain(tinyRun(file))).rejects.toThrow(/a part of the path is a file, not a folder/);
  });
});
