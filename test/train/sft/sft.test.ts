import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { schemaValues } from '../../../src/cli/flags/schema.js';
import { rewriteModel } from '../../../src/cli/model/rewrite.js';
import { batchOf, IGNORE, readConversations } from '../../../src/data/index.js';
import { Engine } from '../../../src/generate/index.js';
import { parametersOf } from '../../../src/models/codec.js';
import { type LoadedModel, loadModel } from '../../../src/models/folder.js';
import { forward } from '../../../src/models/forward.js';
import { addon } from '../../../src/native.js';
import { device, differentiate, gradientOfParameter, memoryOf, scope } from '../../../src/tensor/index.js';
import {
  loadTokenizer,
  type MaskedIds,
  openChatTemplate,
  renderPrompt,
  renderTemplate,
} from '../../../src/tokenizer/index.js';
import { languageModelLoss } from '../../../src/train/loss.js';
import { fitLength, resolveSft, sftSchema } from '../../../src/train/sft/config.js';
import { loadSftData, planSteps } from '../../../src/train/sft/data.js';
import type { SftEvent } from '../../../src/train/sft/events.js';
import { sft } from '../../../src/train/sft/run.js';
import { tinyData, tinyFolder, tinySft } from './tiny.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-sft-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const cpu = device('cpu');
const model = join(folder, 'model');
const withExperts = join(folder, 'experts');
const data = tinyData(folder);
beforeAll(async () => {
  await tinyFolder(model);
  await tinyFolder(withExperts, 'experts');
});

const settings = (out: string, more = {}) => tinySft({ model, data: [data], out: join(folder, out), ...more });
const stateOf = (checkpoint: string) =>
  ['model.safetensors', 'trainer/sft.safetensors', 'trainer/sft.json'].map((f) => readFileSync(join(checkpoint, f)));
const lines = (path: string) =>
  readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((l) => JSON.parse(l));

describe('a run of supervised fine-tuning', { timeout: 240_000 }, () => {
  it('that does not fit says which of its settings would', async () => {
    const run = (out: string, more = {}) => sft(settings(out, { steps: 1, rows: 8, length: 64, ...more }));
    addon.trimMemory(cpu.index);
    const start = memoryOf(cpu, true).live;
    await run('roomy');
    const whole = memoryOf(cpu).peak - start;
    addon.trimMemory(cpu.index);
    addon.limitMemory(cpu.index, start + Math.round(0.6 * whole));
    try {
      const error = await run('short').then(
        () => undefined,
        (e: Error) => e,
      );
      expect(error).toMatchObject({ code: 'out-of-memory' });
      expect(error!.message).toMatch(
        /of activations; held now: .*optimizer .* these would fit: --(accumulate|recompute|length) .*\(about /,
      );
      expect(error!.message).not.toMatch(/--train|u8/);
      addon.trimMemory(cpu.index);
      await run('fits', { accumulate: 8, recompute: true });
    } finally {
      addon.limitMemory(cpu.index, 0);
    }
  });

  it('learns the answers, and leaves a folder that chats', async () => {
    const events: SftEvent[] = [];
    const config = settings('learns', { epochs: 30, saveEvery: 0, evaluateEvery: 1000, lr: 2e-2 });
    const end = await sft(config, { onEvent: (e) => events.push(e) });
    expect(end.losses.at(-1)![1]).toBeLessThan(0.5 * end.losses[0]![1]);
    expect(end.before!.tokens).toBe(end.after!.tokens);
    const metrics = lines(join(config.out, 'metrics.jsonl')).filter((l) => 'train/loss' in l);
    expect(metrics.map((l) => l.step)).toEqual(end.losses.map(([step]) => step));
    expect(metrics[0]['train/lr']).toBe(2e-2);
    expect(metrics.at(-1)['train/lr']).toBeLessThan(0.2 * 2e-2);
    expect(new Set(events.map((e) => e.kind))).toEqual(
      new Set(['reading', 'start', 'evaluation', 'step', 'saved', 'end']),
    );
    const tokenizer = loadTokenizer(end.checkpoint!);
    const template = await openChatTemplate(tokenizer, { folder: end.checkpoint });
    expect(template.origin).toMatch(/chat_template\.jinja$/);
    const trained = loadModel(end.checkpoint!, { device: cpu });
    const engine = new Engine(trained, { maxBatch: 1, cacheTokens: 256 });
    const prompt = renderPrompt(template, { messages: [{ role: 'user', content: 'say c' }] });
    const options = { maxTokens: 8, temperature: 0, stopIds: template.stopIds };
    const answer = engine.generate([[...prompt]], options)[0]![0]!;
    expect(answer.finish).toBe('stop'); // it has learned to end
    expect(tokenizer.decode(answer.ids)).toMatch(/^ [a-x]!?/);
    engine.dispose();
    for (const { tensor } of parametersOf(trained)) tensor.dispose();
  });

  it('goes on after a stop, to the same bits as without one', async () => {
    for (const kind of [model, withExperts]) {
      const name = kind.slice(folder.length + 1);
      const whole = await sft(settings(`whole-${name}`, { model: kind }));
      let steps = 0;
      const first = await sft(settings(`stopped-${name}`, { model: kind }), { shouldStop: () => ++steps === 3 });
      expect([first.step, first.stopped]).toEqual([3, true]);
      const last = await sft(settings(`stopped-${name}`, { model: kind }));
      expect(last.losses[0]![0]).toBe(4);
      expect(stateOf(last.checkpoint!)).toEqual(stateOf(whole.checkpoint!));
      expect(lines(join(folder, `stopped-${name}`, 'metrics.jsonl')).filter((l) => 'train/loss' in l).length).toBe(
        whole.step,
      );
    }
  });

  it('gives the same result in one part as in several', async () => {
    const one = await sft(settings('parts-1', { rows: 4, length: 64 }));
    const two = await sft(settings('parts-2', { rows: 4, length: 64, accumulate: 2 }));
    const four = await sft(settings('parts-4', { rows: 4, length: 64, accumulate: 4 }));
    for (const other of [two, four])
      other.losses.forEach(([, loss], i) => {
        expect(loss).toBeCloseTo(one.losses[i]![1], 4);
      });
  });

  it('is the same, to the bit, with recorded steps', async () => {
    const run = (out: string, more = {}) =>
      sft(settings(out, { model: withExperts, rows: 4, length: 64, accumulate: 2, epochs: 3, saveEvery: 0, ...more }));
    const lora = { rank: 4 };
    const recorded = [await run('recorded'), await run('recorded-lora', { lora })];
    process.env.TRAIN_MOE_GRAPHS = '0';
    try {
      const plain = [await run('plain'), await run('plain-lora', { lora })];
      recorded.forEach((end, i) => {
        expect(end.losses).toEqual(plain[i]!.losses);
        expect(stateOf(end.checkpoint!)).toEqual(stateOf(plain[i]!.checkpoint!));
      });
    } finally {
      delete process.env.TRAIN_MOE_GRAPHS;
    }
  });

  it('trains adapters alone, saves them and the merged model, and resumes to the same bits', async () => {
    const lora = { rank: 4, dropout: 0.1 };
    const run = (out: string, hooks = {}) =>
      sft(settings(out, { model: withExperts, lora, lr: 5e-2, epochs: 4 }), hooks);
    const whole = await run('lora-whole');
    expect(whole.losses.at(-1)![1]).toBeLessThan(whole.losses[0]![1]);
    let steps = 0;
    await run('lora-stopped', { shouldStop: () => ++steps === 3 });
    const last = await run('lora-stopped');
    expect(stateOf(last.checkpoint!)).toEqual(stateOf(whole.checkpoint!));
    const exported = join(folder, 'exported');
    const inFile = () => rewriteModel({ model: withExperts, out: join(data, 'x'), dtype: 'f32' });
    expect(inFile).toThrow(/^Cannot write .*jsonl.x.*: a part of the path is a file/);
    rewriteModel({ model: withExperts, out: exported, dtype: 'f32', adapter: join(whole.checkpoint!, 'adapter') });
    expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
    const [base, merged, copy] = [withExperts, whole.checkpoint!, exported].map((path) =>
      loadModel(path, { device: cpu }),
    ) as [LoadedModel, LoadedModel, LoadedModel];
    const values = (m: LoadedModel) => new Map(parametersOf(m).map(({ path, tensor }) => [path, tensor.read()]));
    const [before, after, again] = [base, merged, copy].map(values) as [
      Map<string, Float32Array>,
      Map<string, Float32Array>,
      Map<string, Float32Array>,
    ];
    for (const [path, weights] of before) {
      const adapted = /(query|kvDown|out|gateUp|down)$/.test(path);
      expect(
        weights.some((w, i) => w !== after.get(path)![i]),
        path,
      ).toBe(adapted);
      expect(
        weights.every((_, i) => Math.abs(after.get(path)![i]! - again.get(path)![i]!) < 1e-6),
        path,
      ).toBe(true);
    }
    for (const m of [base, merged, copy]) for (const { tensor } of parametersOf(m)) tensor.dispose();
  });

  it('refuses to go on with other data or settings of the order', async () => {
    await sft(settings('other', { steps: 1 }));
    const begun = `The run in ${join(folder, 'other')} was begun with`;
    await expect(sft(settings('other', { seed: 9, maxNorm: 2 }))).rejects.toThrow(
      `${begun} --seed 1 (now 9), --max-norm 1 (now 2), which decide what it becomes: leave that as it was to go on, or give --out`,
    );
    await expect(sft(settings('other', { lora: { rank: 2 } }))).rejects.toThrow(`${begun} --lora.rank 0 (now 2)`);
    const moved = join(folder, 'moved.jsonl');
    cpSync(data, moved);
    const last = await sft(settings('other', { data: [moved], steps: 2, accumulate: 2, evaluateEvery: 1 }));
    expect(last.step).toBe(2);
    writeFileSync(moved, readFileSync(data, 'utf8').split('\n').slice(1).join('\n'));
    await expect(sft(settings('other', { data: [moved] }))).rejects.toThrow(`${begun} another data set`);
    await expect(sft(settings('other', { model: withExperts }))).rejects.toThrow(`${begun} another model`);
  });

  it('says that model or data do not exist before it makes anything', async () => {
    const missing = join(folder, 'missing');
    for (const more of [{ model: missing }, { data: [data, missing] }, { validationData: [missing] }])
      await expect(sft(settings('unmade', more))).rejects.toThrow(`${missing} does not exist`);
    await expect(sft(settings('unmade', { data: [folder] }))).rejects.toThrow(
      `${folder} is a folder; give a data file`,
    );
    expect(existsSync(join(folder, 'unmade'))).toBe(false);
  });

  it('says what was too long, and stops where nothing is left', async () => {
    const notes: string[] = [];
    const config = settings('short', { length: 40, steps: 1 });
    await sft(config, { onEvent: (e) => e.kind === 'note' && notes.push(e.sentence) });
    expect(notes).toEqual(['8 of 24 conversations are longer than length = 40 and were dropped.']);
    const cut = await loadSftData({ ...config, overlong: 'cut' }, await templateOf());
    expect([cut.counts.cut, cut.counts.dropped]).toEqual([8, 0]);
    expect(Math.max(...cut.train.map(({ ids }) => ids.length))).toBe(41);
    await expect(sft(settings('none', { length: 4 }))).rejects.toThrow(/Nothing is left to train on .*24 are longer/);
    await expect(sft(settings('long', { length: 300 }))).rejects.toThrow(/length = 300, but the context of .* is 256/);
    const empty = join(folder, 'empty.jsonl');
    writeFileSync(empty, '\n');
    await expect(sft(settings('empty', { data: [empty] }))).rejects.toThrow(/empty.*: there is no conversation\.$/);
  });
});

const templateOf = () => openChatTemplate(loadTokenizer(model), { folder: model });

async function examplesOf(turns: 'all' | 'last' = 'all'): Promise<MaskedIds[]> {
  const template = await templateOf();
  const found: MaskedIds[] = [];
  for await (const c of readConversations(data)) found.push(renderTemplate(template, c, { turns }));
  return found;
}

describe('the loss', () => {
  it('is the mean of -log p over the trained tokens, computed here from the logits', async () => {
    const all = await examplesOf();
    const loaded = loadModel(model, { device: cpu });
    const [rows, vocabulary] = [[0, 1], loaded.family.vocabulary(loaded.config)];
    let [sum, count] = [0, 0];
    for (const index of rows) {
      const { ids, mask } = all[index]!;
      const { logits } = forward(loaded, { shape: [1, ids.length], inputIds: ids }, cpu, false);
      for (let t = 1; t < ids.length; t++) {
        if (!mask[t]) continue;
        const row = logits.subarray((t - 1) * vocabulary, t * vocabulary);
        sum += Math.log(row.reduce((s, x) => s + Math.exp(x), 0)) - row[ids[t]!]!;
        count++;
      }
    }
    const batch = batchOf(all, [rows]); // both in one row: what stands before a conversation changes nothing
    const loss = scope(() =>
      languageModelLoss(loaded, batch, { device: cpu, trainedTokens: batch.trainedTokens }).main.item(),
    );
    expect(batch.trainedTokens).toBe(count);
    expect(loss).toBeCloseTo(sum / count, 5);
    for (const { tensor } of parametersOf(loaded)) tensor.dispose();
  });

  it('reaches back from what is trained, and gives no gradient to anything behind it', async () => {
    const all = await examplesOf();
    const loaded = loadModel(model, { device: cpu, train: true });
    const batch = batchOf(all, [[0]]); // "say a", "a!", "again", "a"
    const first = batch.targets.findIndex((target) => target !== IGNORE);
    const shortened = { ...batch, targets: batch.targets.map((t, i) => (i === first ? t : IGNORE)) };
    differentiate(() => {
      const { main } = languageModelLoss(loaded, shortened, { device: cpu, trainedTokens: 1 });
      return { losses: [main] };
    });
    const embedding = parametersOf(loaded).find(({ path }) => /embed/.test(path))!.tensor;
    const width = embedding.shape[1]!;
    const gradient = gradientOfParameter(embedding)!.read();
    const seen = new Set(batch.ids.subarray(0, first + 1));
    for (let id = 0; id < gradient.length / width; id++) {
      const size = gradient.subarray(id * width, (id + 1) * width).reduce((s, g) => s + Math.abs(g), 0);
      expect(size > 0, `token ${id}`).toBe(seen.has(id));
    }
    for (const { tensor } of parametersOf(loaded)) tensor.dispose();
  });
});

describe('the plan of steps', () => {
  it('goes through every example once an epoch, whatever the step it starts from', async () => {
    const all = await examplesOf();
    const plan = planSteps(all, { rows: 2, length: 128, seed: 1, epochs: 3 });
    expect(plan.steps).toBe(3 * plan.stepsPerEpoch);
    const epochs = [0, 1, 2].map(() => [] as number[]);
    for (let step = plan.steps - 1; step >= 0; step--) {
      const { rows, epoch } = plan.rowsOf(step);
      expect(rows.length).toBeGreaterThan(0);
      epochs[epoch]!.push(...rows.flat());
    }
    for (const seen of epochs) expect(seen.toSorted((a, b) => a - b)).toEqual(all.map((_, i) => i));
    expect(epochs[0]).not.toEqual(epochs[1]);
    expect(planSteps(all, { rows: 2, length: 128, seed: 1, epochs: 3, steps: 2 }).steps).toBe(2);
  });

  it('packs an epoch when it begins, however many there are', async () => {
    const all = await examplesOf();
    const many = planSteps(all, { rows: 2, length: 128, seed: 1, epochs: 2 ** 40 });
    const few = planSteps(all, { rows: 2, length: 128, seed: 1, epochs: 2 });
    expect(many.steps).toBe(2 ** 40 * few.stepsPerEpoch);
    expect(many.rowsOf(many.steps - 1).epoch).toBe(2 ** 40 - 1);
    const last = few.steps - 1;
    expect(many.rowsOf(last)).toEqual(few.rowsOf(last)); // whatever was packed in between
  });

  it('holds out by content: more data moves nothing to the other side', async () => {
    const template = await templateOf();
    const config = settings('split', { validation: 0.4 });
    const some = await loadSftData(config, template);
    expect(some.validation.length).toBeGreaterThan(2);
    expect(some.train.length + some.validation.length).toBe(24);
    const more = await loadSftData({ ...config, data: [data, data] }, template);
    expect(more.validation).toEqual([...some.validation, ...some.validation]);
    const files = await loadSftData({ ...config, validationData: [data] }, template);
    expect([files.train.length, files.validation.length]).toEqual([24, 24]);
    expect(new Set([some, more, files].map((d) => d.fingerprint)).size).toBe(3);
  });
});

describe('settings of SFT', () => {
  it('are read from flags, sections by their dotted names', () => {
    const flags = {
      model: 'm',
      data: ['a', 'b'],
      evaluateEvery: '3',
      'lora.rank': '8',
      'lora.dropout': '0.1',
      mtp: false,
    };
    expect(resolveSft(schemaValues(flags, sftSchema))).toMatchObject({
      data: ['a', 'b'],
      evaluateEvery: 3,
      mtp: false,
      lora: { rank: 8, alpha: 16, dropout: 0.1, targets: 'all' },
    });
    expect(() => resolveSft(schemaValues({ ...flags, 'lora.rank': 'big' }, sftSchema))).toThrow(/lora\.rank/);
  });

  it('names what is wrong', () => {
    // @ts-expect-error what the compiler says too
    expect(() => resolveSft({ model: 'm' })).toThrow(/data/);
    // @ts-expect-error what the compiler says too
    expect(() => resolveSft({ model: 'm', data: ['d'], lerning: 1 })).toThrow(/lerning/);
    const config = resolveSft({ model: 'm', data: ['d'] });
    expect([fitLength(config, 256).length, fitLength(config, 4096).length]).toEqual([256, 2048]);
    expect(() => resolveSft({ model: 'm', data: ['d'], rows: 2, accumulate: 4 })).toThrow(/has only 2 rows to cut/);
  });
});
