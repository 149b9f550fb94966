import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Engine, streamText } from '../../src/generate/index.js';
import { createModel, parametersOf } from '../../src/models/codec.js';
import { deepseekV3, deepseekV3Presets } from '../../src/models/deepseek_v3.js';
import { logitsOf } from '../../src/models/family.js';
import type { Model } from '../../src/models/index.js';
import { llama, llamaPresets } from '../../src/models/llama.js';
import { makeLayout } from '../../src/nn/layout.js';
import { device, from, memoryOf, scope } from '../../src/tensor/index.js';
import { trainBpe } from '../../src/tokenizer/index.js';
import { tinyLatent } from '../tiny_models.js';

const cpu = device('cpu');
const small = { vocabulary: 300, hidden: 24, layers: 3, heads: 2, context: 128, deviation: 0.3 };
const models: [string, Model][] = [];

beforeAll(() => {
  const latent = {
    ...deepseekV3Presets.micro,
    ...small,
    ...tinyLatent,
  };
  const dense = { ...llamaPresets['dense-nano'], ...small, heads: 4, keyHeads: 2, headSize: 8, inner: 32 };
  models.push([
    'latent attention and experts',
    createModel(deepseekV3, latent, { device: cpu, dtype: 'f32', seed: 3, train: false }) as Model,
  ]);
  models.push([
    'grouped keys',
    createModel(llama, dense, { device: cpu, dtype: 'f32', seed: 3, train: false }) as Model,
  ]);
});
afterAll(() => {
  for (const [, model] of models) for (const { tensor } of parametersOf(model)) tensor.dispose();
});

/** Logits of the last position of a sequence, by the training forward. */
function fullLogits(model: Model, ids: readonly number[]): Float32Array {
  return scope(() => {
    const layout = makeLayout({ rows: 1, length: ids.length, causal: true });
    const hidden = model.family.forward(model.weights, model.config, from(Int32Array.from(ids), [ids.length]), {
      layout,
      losses: [],
    });
    return logitsOf(model, hidden).read().slice(-300);
  });
}

const argmax = (x: Float32Array) => x.reduce((best, v, i) => (v > x[best]! ? i : best), 0);

function logSoftmax(x: Float32Array, id: number): number {
  const largest = Math.max(...x);
  return x[id]! - largest - Math.log(x.reduce((s, v) => s + Math.exp(v - largest), 0));
}

const prompts = [[5, 9, 200], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [299], [17, 18, 19, 20]];

describe.each([0, 1])('the engine, model %i', (which) => {
  const model = () => models[which]![1];

  it('generates greedily what the full forward pass would, in any company', () => {
    const engine = new Engine(model(), { pageSize: 4, cacheTokens: 512, maxBatch: 3, prefillTokens: 6 });
    const together = engine.generate(prompts, { temperature: 0, maxTokens: 9 });
    prompts.forEach((prompt, i) => {
      const ids = [...prompt];
      for (let n = 0; n < 9; n++) ids.push(argmax(fullLogits(model(), ids)));
      expect(together[i]![0]!.ids, `prompt ${i}`).toEqual(ids.slice(prompt.length));
    });
    engine.dispose();
  });

  it('samples the same for a seed whatever else runs, and forks of a prompt like separate requests', () => {
    const engine = new Engine(model(), { pageSize: 4, cacheTokens: 2048, maxBatch: 16 });
    const options = { temperature: 0.9, topP: 0.9, topK: 50, maxTokens: 12, seed: 40 };
    const [group] = engine.generate([prompts[1]!], { ...options, count: 5 });
    const crowd = engine.generate([prompts[0]!, prompts[1]!, prompts[3]!], options);
    expect(crowd[1]![0]!.ids).toEqual(group![0]!.ids);
    for (const [i, completion] of group!.entries()) {
      const alone = engine.generate([prompts[1]!], { ...options, seed: 40 + i })[0]![0]!;
      expect(alone.ids, `completion ${i}`).toEqual(completion.ids);
    }
    expect(new Set(group!.map((c) => c.ids.join())).size).toBeGreaterThan(1);
    engine.dispose();
  });

  it('reads the last token of a prompt that has as many tokens as completions', () => {
    const engine = new Engine(model(), { pageSize: 4, cacheTokens: 256 });
    const options = { temperature: 0.9, maxTokens: 2, seed: 40 };
    const [group] = engine.generate([prompts[0]!], { ...options, count: prompts[0]!.length }); // as many rows as picks
    for (const [i, completion] of group!.entries())
      expect(completion).toEqual(engine.generate([prompts[0]!], { ...options, seed: 40 + i })[0]![0]);
    engine.dispose();
  });

  it('returns the log-probabilities of the training forward', () => {
    const engine = new Engine(model(), { pageSize: 8, cacheTokens: 256 });
    const completion = engine.generate([prompts[3]!], { temperature: 1, maxTokens: 10, seed: 2 })[0]![0]!;
    let worst = 0;
    completion.ids.forEach((id, n) => {
      const logits = fullLogits(model(), [...prompts[3]!, ...completion.ids.slice(0, n)]);
      worst = Math.max(worst, Math.abs(completion.logprobs[n]! - logSoftmax(logits, id)));
    });
    expect(worst).toBeLessThan(2e-5);
    engine.dispose();
  });

  it('gives all pages and memory back', () => {
    const before = memoryOf(cpu);
    const engine = new Engine(model(), { pageSize: 4, cacheTokens: 64, maxBatch: 4 });
    // The cache holds a third of this at once, so requests wait for each other.
    engine.generate([...prompts, ...prompts, ...prompts], { temperature: 1, maxTokens: 8 });
    const request = engine.submit(prompts[1]!, { maxTokens: 20, count: 2 });
    engine.step();
    engine.cancel(request);
    expect(engine.busy).toBe(false);
    engine.generate([prompts[1]!], { maxTokens: 50, count: 1 });
    engine.dispose();
    const after = memoryOf(cpu);
    expect([after.live, after.tensors]).toEqual([before.live, before.tensors]);
  });
});

describe('requests', () => {
  it.each([
    ['an empty prompt', [], {}, /prompt is empty/],
    ['an id outside the vocabulary', [300], {}, /id 300; this model's ids are 0 to 299/],
    ['a negative temperature', [1], { temperature: -1 }, /temperature is -1; it must be 0 or more/],
    ['top-p of 0', [1], { topP: 0 }, /topP is 0/],
    ['more than the cache holds', [1], { maxTokens: 10_000 }, /need 1\d+ cache tokens .* this engine has 64/],
    ['a prompt as long as the context', new Array<number>(128).fill(1), {}, /has 128 tokens, but this model reads 128/],
  ])('are refused with %s', (_, prompt, options, says) => {
    const engine = new Engine(models[0]![1], { pageSize: 4, cacheTokens: 64 });
    expect(() => engine.submit(prompt, options)).toThrow(says);
    engine.dispose();
  });
});

describe('an engine', () => {
  it.each([
    [{ maxBatch: 0 }, /maxBatch is 0; it must be a positive integer/],
    [{ cacheTokens: -5 }, /cacheTokens is -5/],
    [{ pageSize: 1.5 }, /pageSize is 1\.5/],
    [{ prefillTokens: Number.NaN }, /prefillTokens is NaN/],
  ])('is refused with %j, which would never end', (options, says) => {
    expect(() => new Engine(models[0]![1], options)).toThrow(says);
  });
});

describe('the context', () => {
  it.each([0, 1])('ends a completion that reaches it, and no other, model %i', (which) => {
    const engine = new Engine(models[which]![1], { cacheTokens: 1024 });
    const long = [...new Array<number>(120).fill(7), 8];
    const options = { temperature: 1, maxTokens: 20, seed: 1 };
    const [cut, whole] = engine.generate([long, [5]], options).map(([completion]) => completion!);
    expect([cut!.ids.length, cut!.finish]).toEqual([7, 'length']);
    expect(whole).toEqual(engine.generate([[5]], options)[0]![0]);
    engine.dispose();
  });
});

describe('text', () => {
  it('streams side by side what each would be alone, beside generate(), and ends when it is cancelled', async () => {
    const tokenizer = await trainBpe([readFileSync(new URL('../../LICENSE', import.meta.url), 'utf8')], {
      vocabSize: 300,
      pattern: 'gpt2',
    });
    const engine = new Engine(models[0]![1], { cacheTokens: 1024 });
    const options = { temperature: 1, maxTokens: 24, seed: 5, stopIds: [] };
    const read = async (prompt: string | number[], onPiece = () => {}) => {
      let [text, finish] = ['', ''];
      for await (const piece of streamText(engine, tokenizer, prompt, options)) {
        text += piece.text;
        finish = piece.finish ?? finish;
        onPiece();
      }
      return [text, finish];
    };
    const alone = [await read([1, 2]), await read([3]), engine.generate([[4, 5]], options)] as const;
    expect(await read(tokenizer.decode([70, 71, 260]))).toEqual(await read([70, 71, 260])); // a prompt in text
    let batch: unknown;
    const together = await Promise.all([
      read([1, 2], () => {
        batch ??= engine.generate([[4, 5]], options);
      }),
      read([3]),
    ]);
    expect([...together, batch]).toEqual(alone);
    const stream = streamText(engine, tokenizer, [8], { ...options, maxTokens: 100 });
    await stream.next();
    engine.dispose();
    const rest = [];
    for await (const piece of stream) rest.push(piece.finish);
    expect(rest.at(-1)).toBe('cancelled');
  });

  it('streams at character boundaries and stops before a stop text, which may come in pieces', async () => {
    const tokenizer = await trainBpe([`${readFileSync(new URL('../../LICENSE', import.meta.url), 'utf8')} é ü ß`], {
      vocabSize: 300,
      pattern: 'gpt2',
    });
    const engine = new Engine(models[0]![1], { cacheTokens: 1024 });
    const options = { temperature: 1, maxTokens: 60, seed: 3, stopIds: [] };
    const all: string[] = [];
    for await (const { text } of streamText(engine, tokenizer, [1, 2], options)) all.push(text);
    const whole = all.join('');
    expect(whole.length).toBeGreaterThan(20);
    expect(tokenizer.decode(engine.generate([[1, 2]], options)[0]![0]!.ids, { skipSpecial: true })).toBe(whole);
    const stop = whole.slice(11, 14);
    let cut = '';
    for await (const { text } of streamText(engine, tokenizer, [1, 2], { ...options, stop: [stop] })) cut += text;
    expect(cut).toBe(whole.slice(0, whole.indexOf(stop)));
    expect(engine.busy).toBe(false);
    engine.dispose();
  });
});
