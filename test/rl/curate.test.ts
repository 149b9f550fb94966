import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { curateView } from '../../src/cli/rl/curate.js';
import { Engine } from '../../src/generate/index.js';
import { loadModel } from '../../src/models/folder.js';
import { addon } from '../../src/native.js';
import {
  type RejectInput,
  resolveReject,
  resolveSynthesize,
  type SynthesizeInput,
} from '../../src/rl/curate/config.js';
import type { CurateEvent } from '../../src/rl/curate/curate.js';
import { repeatedShare, SeenTexts, textFilter } from '../../src/rl/curate/filters.js';
import { reasonAgainst } from '../../src/rl/curate/panel.js';
import { reject } from '../../src/rl/curate/reject.js';
import { synthesize } from '../../src/rl/curate/synthesize.js';
import { fill, openTemplate, variablesOf } from '../../src/rl/curate/templates.js';
import type { openGraders, RewardResult, Sample } from '../../src/rl/rewards/index.js';
import { rollout } from '../../src/rl/rollout.js';
import { device, memoryOf, tensorsIn } from '../../src/tensor/index.js';
import { loadTokenizer } from '../../src/tokenizer/index.js';
import { writeTinyModel } from './tiny.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-curate-'));
const modelPath = join(folder, 'model');
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeAll(() => writeTinyModel(modelPath));

/** Graders in this process: each spec by the function of its name. */
const judges: Readonly<Record<string, (sample: Sample) => RewardResult>> = {
  /** Completions whose first character is below "a" in the order of characters. */
  number: ({ completion }) => ({ value: completion < 'a' ? 1 : 0 }),
  format: ({ completion }) => ({ value: completion.length % 2 }),
  failing: () => ({ skip: true, reason: 'hung' }),
};
const inProcess = (async (specs: readonly { name: string; options?: { pattern?: string } }[]) => ({
  grade: async (samples: readonly Sample[]) =>
    samples.map((sample) =>
      specs.map(({ name, options }) =>
        name === 'regex'
          ? { value: new RegExp(options!.pattern!, 'u').test(sample.completion) ? 1 : 0 }
          : judges[name]!(sample),
      ),
    ),
  close() {},
})) as unknown as typeof openGraders;

const settings = (out: string, more: Partial<RejectInput> = {}) =>
  resolveReject({
    model: modelPath,
    out: join(folder, out),
    device: 'cpu',
    questions: 12,
    samples: 6,
    maxTokens: 4,
    batch: 3,
    most: 2,
    ...more,
  });

const linesOf = (path: string) =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
const bytesIn = (out: string) =>
  ['data.jsonl', 'state.jsonl'].map((name) => readFileSync(join(folder, out, name), 'utf8'));

const letters = {
  prompt: '{{examples}}{{question}}=',
  example: '{{question}}={{answer}};',
  stop: ['e', 'a', 't', 'o'],
  output: 'answer',
  messages: [
    { role: 'user', content: '{{question}}' },
    { role: 'assistant', content: '{{answer}}' },
  ],
};
const synthesis = (out: string, more: Partial<SynthesizeInput> = {}) => {
  const [template, seeds] = [join(folder, 'letters.json'), join(folder, 'seeds.jsonl')];
  writeFileSync(template, JSON.stringify(letters));
  const rows = [{ question: 'one', answer: 'two' }, { question: 'three', answer: 4 }, { fields: { question: 'five' } }];
  writeFileSync(seeds, rows.map((row) => JSON.stringify(row)).join('\n'));
  const common = {
    model: modelPath,
    out: join(folder, out),
    device: 'cpu' as const,
    template,
    seeds,
    samples: 8,
    maxTokens: 200,
  };
  return resolveSynthesize({ rounds: 4, batch: 2, most: 8, temperature: 1, ...common, ...more });
};

describe('a run that does not fit', () => {
  it('says which of its settings would; the first of them makes the same data', async () => {
    const cpu = device('cpu');
    const sampling = { samples: 4, batch: 12, maxTokens: 64, maxPrompt: 32 };
    const run = (out: string, more: Partial<RejectInput> = {}) =>
      reject(settings(out, { ...sampling, ...more }), { open: inProcess });
    addon.trimMemory(cpu.index);
    const start = memoryOf(cpu, true).live;
    await run('roomy');
    const whole = memoryOf(cpu).peak - start;
    addon.trimMemory(cpu.index);
    addon.limitMemory(cpu.index, start + Math.round(0.9 * whole));
    try {
      const error = await run('short').then(
        () => undefined,
        (e: Error) => e,
      );
      expect(error).toMatchObject({ code: 'out-of-memory' });
      expect(error!.message).toMatch(
        /[Hh]eld now: key cache [^;]* activations .*these would fit: --parallel \d+ \(about .*; --dtype bf16 \(about .*; /,
      );
      addon.trimMemory(cpu.index);
      await run('fits', { parallel: Number(/--parallel (\d+)/.exec(error!.message)![1]) });
      expect(bytesIn('fits')[0]).toBe(bytesIn('roomy')[0]);
    } finally {
      addon.limitMemory(cpu.index, 0);
    }
  });
});

describe('rejection sampling', () => {
  it('accounts for every completion, and keeps conversations with what is known of them', async () => {
    const events: CurateEvent[] = [];
    const config = settings('story', { task: 'arith', reward: ['number'] });
    const end = await reject(config, { open: inProcess, onEvent: (event) => events.push(event) });
    expect([end.questions, end.sampled, end.stopped]).toEqual([12, 72, false]);
    const dropped = Object.values(end.dropped).reduce((a, b) => a + b, 0);
    expect(end.kept + dropped).toBe(72);
    expect(end.correct).toBeGreaterThan(0);
    expect(linesOf(end.data)).toHaveLength(end.kept);
    expect(new Set(events.map(({ kind }) => kind))).toEqual(new Set(['start', 'phase', 'batch', 'end']));
  });

  it('writes prompt, completion, task, number, rewards and length', async () => {
    const out = 'kept';
    const config = settings(out, { task: 'arith', reward: ['number'], maxTokens: 400, questions: 3, maxRepetition: 1 });
    const end = await reject(config, { open: inProcess });
    const [first] = linesOf(end.data);
    expect(end.kept).toBeGreaterThan(0);
    expect(first.messages).toEqual([
      { role: 'user', content: expect.stringMatching(/^What is .*\?$/) },
      { role: 'assistant', content: expect.any(String) },
    ]);
    expect(first).toMatchObject({
      source: 'arith',
      reward: 1,
      rewards: { number: 1 },
      answer: expect.stringMatching(/^-?\d+$/),
    });
    expect(first.tokens).toBeLessThan(400);
    for (const { index } of linesOf(end.data)) expect(index).toBeLessThan(3);
    for (const question of [0, 1, 2])
      expect(linesOf(end.data).filter(({ index }) => index === question).length).toBeLessThanOrEqual(2);
  });

  it('draws the same completions of a question whatever is asked beside it', async () => {
    const more = { reward: ['number'], maxTokens: 300, maxRepetition: 1, questions: 6 };
    const a = await reject(settings('batch-a', { ...more, batch: 6 }), { open: inProcess });
    const b = await reject(settings('batch-b', { ...more, batch: 1, parallel: 6 }), { open: inProcess });
    expect(a.kept).toBeGreaterThan(0);
    expect(readFileSync(b.data, 'utf8')).toBe(readFileSync(a.data, 'utf8'));
  });
});

describe('synthesis', () => {
  it('fills the template, cuts at the stop text and keeps fields that are seeds again', async () => {
    const end = await synthesize(synthesis('synthesis'));
    expect(end.questions).toBe(12);
    expect(end.sampled).toBe(96);
    expect(end.kept).toBeGreaterThan(20);
    const lines = linesOf(end.data);
    for (const { messages, fields, index } of lines) {
      expect(messages[0]).toEqual({ role: 'user', content: ['one', 'three', 'five'][index % 3] });
      expect(messages[1].content).toBe(fields.answer);
      expect(fields.answer).not.toMatch(/[eato]/);
    }
    const texts = lines.map(({ messages }) => JSON.stringify(messages).toLowerCase());
    expect(new Set(texts).size).toBe(texts.length);
    const again = await synthesize(synthesis('again', { seeds: end.data, rounds: 1, samples: 1 }));
    expect(again.questions).toBe(end.kept);
  });

  it('puts the prompt to a chat model as a turn of the user', async () => {
    writeFileSync(
      join(folder, 'model', 'chat_template.jinja'),
      '{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}',
    );
    try {
      const plain = await synthesize(synthesis('plain', { rounds: 1 }));
      const chat = await synthesize(synthesis('chat', { rounds: 1, chat: true }));
      expect(linesOf(chat.data).length).toBeGreaterThan(5);
      expect(linesOf(chat.data)[0].messages[0]).toEqual({ role: 'user', content: 'one' });
      expect(readFileSync(chat.data, 'utf8')).not.toBe(readFileSync(plain.data, 'utf8'));
      const narrow = synthesis('narrow', { rounds: 1, chat: true, maxPrompt: 10 }); // the turn's marks alone have 17
      expect((await synthesize(narrow)).passedOver).toBe(3);
    } finally {
      rmSync(join(folder, 'model', 'chat_template.jinja'));
    }
  });

  it('keeps what the patterns and the reward allow', async () => {
    const config = synthesis('filtered', { require: ['[b-d]'], forbid: ['z'], reward: ['number'] });
    const end = await synthesize(config, { open: inProcess });
    const texts = linesOf(end.data).map(({ fields }) => fields.answer as string);
    for (const text of texts) expect(text).toMatch(/^(?=.*[b-d])[^z]*$/su);
    expect(end.dropped.wrong! + (end.dropped.truncated ?? 0)).toBeGreaterThanOrEqual(end.sampled - end.correct);
    expect(end.dropped.wrong).toBeLessThanOrEqual(end.sampled - end.correct);
    expect(end.dropped.pattern).toBeGreaterThan(0);
    const failing = await synthesize(synthesis('failing', { reward: ['failing'] }), { open: inProcess });
    expect([failing.kept, failing.correct]).toEqual([0, 0]);
    expect(failing.dropped.ungraded).toBeGreaterThan(90);
  });
});

describe('an interrupted run', () => {
  it('goes on behind the last whole batch, to the same bytes', async () => {
    const whole = await synthesize(synthesis('whole'));
    let batches = 0;
    const first = await synthesize(synthesis('cut'), { shouldStop: () => ++batches === 2 });
    expect([first.stopped, first.questions]).toEqual([true, 4]);
    // What a kill in the middle of the next batch may leave.
    appendFileSync(join(folder, 'cut', 'data.jsonl'), '{"messages":[{"role":"user","content":"half');
    appendFileSync(join(folder, 'cut', 'state.jsonl'), '{"next":6,"byt');
    const last = await synthesize(synthesis('cut'));
    expect(bytesIn('cut')[0]).toBe(bytesIn('whole')[0]);
    expect(bytesIn('cut')[1]).toBe(bytesIn('whole')[1]);
    expect({ ...last, data: '', seconds: 0 }).toEqual({ ...whole, data: '', seconds: 0 });
  });

  it('is over at once when all is done, goes on when more is asked for, and refuses other settings', async () => {
    const events: CurateEvent[] = [];
    const done = await synthesize(synthesis('whole'), { onEvent: (event) => events.push(event) });
    expect(events.map(({ kind }) => kind)).toEqual(['end']); // no model was loaded
    const more = await synthesize(synthesis('whole', { rounds: 5 }));
    expect([done.questions, more.questions]).toEqual([12, 15]);
    await expect(synthesize(synthesis('whole', { temperature: 0.5, minLength: 2 }))).rejects.toThrow(
      'was begun with --temperature 1 (now 0.5), --min-length 1 (now 2), which decide what it becomes',
    );
    truncateSync(join(folder, 'whole', 'data.jsonl'), 10);
    await expect(synthesize(synthesis('whole', { rounds: 6 }))).rejects.toThrow(/has 10 bytes, but .* knows of/);
  });
});

describe('a run whose folder and model were copied elsewhere', () => {
  it('goes on there, to the same bytes, and not with another model or other seeds', async () => {
    const [there, model] = [join(folder, 'there'), join(folder, 'same-model')];
    cpSync(modelPath, model, { recursive: true });
    const run = (out: string, more: Partial<RejectInput>) =>
      reject(settings(out, { reward: ['number'], maxTokens: 300, maxRepetition: 1, ...more }), { open: inProcess });
    const whole = await run('here-whole', { questions: 6 });
    await run('here', { questions: 3 });
    cpSync(join(folder, 'here'), there, { recursive: true });
    const end = await run('there', { model, questions: 6 });
    expect([end.questions, end.kept]).toEqual([6, whole.kept]);
    expect(end.kept).toBeGreaterThan(0);
    expect(bytesIn('there')).toEqual(bytesIn('here-whole'));
    await writeTinyModel(model, 4);
    await expect(run('there', { model, questions: 9 })).rejects.toThrow(
      `The run in ${there} was begun with another model: give the same`,
    );
    const seeds = join(folder, 'moved-seeds.jsonl');
    const { seeds: own, template: given } = synthesis('seeded');
    const template = join(folder, 'moved.json');
    for (const [from, to] of [
      [own, seeds],
      [given, template],
    ] as const)
      cpSync(from, to);
    await synthesize(synthesis('seeded', { rounds: 1 }));
    const config = synthesis('seeded', { rounds: 2, seeds, template });
    expect((await synthesize(config)).questions).toBe(6);
    writeFileSync(seeds, '{"question":"two"}\n');
    await expect(synthesize(config)).rejects.toThrow('was begun with another file of seeds');
  });
});

describe('filters', () => {
  it('count sequences that came before', () => {
    expect(repeatedShare([1, 2, 3])).toBe(0);
    expect(repeatedShare(Array.from({ length: 50 }, (_, i) => i))).toBe(0);
    expect(repeatedShare(new Array(50).fill(7))).toBeCloseTo(42 / 43, 12);
    expect(repeatedShare(Array.from({ length: 39 }, (_, i) => i % 16))).toBeCloseTo(0.5, 12);
  });

  it('look at length, language and repetition, in this order', () => {
    const filter = textFilter(settings('none', { minLength: 3, maxLength: 60, language: 'en', languageShare: 0.8 }));
    const long = Array.from({ length: 20 }, (_, i) => i);
    expect(filter({ ids: [1, 2], text: 'hi there' })).toBe('short');
    expect(filter({ ids: long, text: ' \n' })).toBe('short');
    expect(filter({ ids: [...long, ...long, ...long, 1], text: 'words' })).toBe('long');
    expect(filter({ ids: long, text: 'we see 因为 所以 that it is so' })).toBe('language');
    expect(filter({ ids: long, text: 'we see that $x = 3$ and so on' })).toBeUndefined();
    expect(filter({ ids: new Array(60).fill(1), text: 'words' })).toBe('repetition');
  });

  it('take texts for one that differ in case, white space and form only', () => {
    const seen = new SeenTexts();
    expect(seen.add(['What is  2?', 'Four'])).toBe(true);
    expect(seen.add(['what is 2?', 'ＦＯＵＲ \n'])).toBe(false);
    expect(seen.add(['what is 2? four', ''])).toBe(true);
  });

  it('judge by the first reward, the format, the least sum and the patterns', () => {
    const panel = {
      rewards: [
        { name: 'number', weight: 1 },
        { name: 'format', weight: 2 },
      ],
      firstDecides: true,
      minReward: 2.5,
      patterns: [{ wanted: true }, { wanted: false }],
      grade: async () => [],
      close() {},
    };
    const verdict = (...values: (number | undefined)[]) =>
      reasonAgainst(
        panel,
        values.map((v) => (v === undefined ? { skip: true, reason: '' } : { value: v })),
      ).verdict;
    expect(verdict(1, 1, 1, 0)).toBeUndefined();
    expect(verdict(0, 1, 1, 0)).toBe('wrong');
    expect(verdict(1, 0, 1, 0)).toBe('malformed');
    expect(verdict(0.7, 0.6, 1, 0)).toBe('reward');
    expect(verdict(1, 1, 0, 0)).toBe('pattern');
    expect(verdict(1, 1, 1, 1)).toBe('pattern');
    expect(verdict(1, undefined, 1, 0)).toBe('ungraded');
  });
});

describe('templates', () => {
  it('are filled once: what a value holds is text', () => {
    expect(fill('{{a}} and {{ b }}{{a}}', { a: '{{b}}', b: 2 })).toBe('{{b}} and 2{{b}}');
    expect(variablesOf('{{a}}{{ b.c }}{x}')).toEqual(['a', 'b.c']);
  });

  it.each(['question', 'answer', 'rewrite', 'summary'])('%s puts its completion into the conversation', (name) => {
    const { messages, output, prompt, example } = openTemplate(name);
    expect(messages.flatMap(({ content }) => variablesOf(content))).toContain(output);
    expect(variablesOf(example!)).toContain(output);
    expect(variablesOf(prompt)).toContain('examples');
    expect(variablesOf(prompt)).not.toContain(output);
  });

  it('say what is wrong', async () => {
    expect(() => openTemplate('sumary')).toThrow(/no template sumary; the built-in ones are question, answer, rewrite/);
    expect(() => openTemplate('./none.json')).toThrow(/no template/);
    const bad = join(folder, 'bad.json');
    writeFileSync(bad, JSON.stringify({ ...letters, output: 'reply' }));
    expect(() => openTemplate(bad)).toThrow(/no \{\{reply\}\} in its messages/);
    const seeds = join(folder, 'bad-seeds.jsonl');
    writeFileSync(seeds, '{"question":"a"}\n{"text":"b"}\n');
    await expect(synthesize(synthesis('bad', { seeds }))).rejects.toThrow(
      /bad-seeds.jsonl:2: the template needs the field "question" as a text or number; the line has text\./,
    );
    expect(() => resolveSynthesize({ model: 'm', seeds: 's', forbid: ['('] })).toThrow(/The pattern \( cannot be read/);
    // @ts-expect-error what the compiler says too
    expect(() => resolveReject({ model: 'm', sampels: 3 })).toThrow(/sampels/);
  });
});

describe('stop texts of a rollout', () => {
  it('end one completion and leave the others of its group as they are', async () => {
    const tokenizer = loadTokenizer(modelPath);
    const model = loadModel(modelPath, { device: device('cpu'), dtype: 'f32', train: false });
    const engine = new Engine(model, { cacheTokens: 4096, maxBatch: 16 });
    try {
      const question = { index: 0, prompt: 'one', ids: [...tokenizer.encode('one')] };
      const options = { group: 8, maxTokens: 60, temperature: 1, stopIds: [], seed: 4 };
      const [free] = await rollout(engine, tokenizer, [question], options);
      const [cut] = await rollout(engine, tokenizer, [question], { ...options, stop: ['e', 'th'] });
      expect(cut!.some(({ finish }) => finish === 'stop')).toBe(true);
      cut!.forEach(({ ids, text, finish }, i) => {
        expect(ids).toEqual(free![i]!.ids.slice(0, ids.length));
        expect(finish).toBe(/e|th/.test(free![i]!.text) ? 'stop' : 'length');
        expect(text).toBe(free![i]!.text.split(/e|th/)[0]);
      });
      expect(engine.busy).toBe(false);
    } finally {
      engine.dispose();
      for (const tensor of tensorsIn(model.weights)) tensor.dispose();
    }
  });
});

describe('the view', () => {
  it('ends with counts and reasons', async () => {
    let text = '';
    const write = (chunk: string) => {
      text += chunk;
      return true;
    };
    const view = curateView({ write } as never);
    const end = await synthesize(synthesis('view', { rounds: 1 }), { onEvent: view.show });
    view.done();
    expect(text).toContain('no reward, only filters');
    expect(text).toContain(`right 24, kept ${end.kept}`);
    expect(text).toContain(`written to ${end.data}`);
  });
});
