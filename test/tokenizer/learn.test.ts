import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TrainProgress, trainBpe } from '../../src/tokenizer/index.js';
import { type Counts, PieceCounter } from '../../src/tokenizer/learn/count.js';
import { MergeLearner } from '../../src/tokenizer/learn/merges.js';
import { PATTERNS } from '../../src/tokenizer/patterns.js';
import { SAMPLE } from './texts.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The rule, plainly: count all pairs anew for every merge. Tokens are strings of letters. */
function learnByDefinition(
  words: readonly (readonly [string, number])[],
  ids: Map<string, number>,
  size: number,
  least: number,
): string[] {
  const split = words.map(([word, count]) => ({ tokens: [...word], count }));
  const merges: string[] = [];
  while (ids.size < size) {
    const counts = new Map<string, number>();
    for (const { tokens, count } of split) {
      for (let i = 0; i + 1 < tokens.length; i++) {
        const pair = `${tokens[i]} ${tokens[i + 1]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + count);
      }
    }
    const rank = (pair: string): number[] => pair.split(' ').map((token) => ids.get(token)!);
    const [best] = [...counts].sort(
      ([a, m], [b, n]) => n - m || rank(a)[0]! - rank(b)[0]! || rank(a)[1]! - rank(b)[1]!,
    );
    if (!best || best[1] < least) break;
    const [left, right] = best[0].split(' ') as [string, string];
    if (!merges.includes(best[0])) merges.push(best[0]);
    if (!ids.has(left + right)) ids.set(left + right, ids.size);
    for (const word of split) {
      const out: string[] = [];
      for (let i = 0; i < word.tokens.length; i++) {
        const joins = word.tokens[i] === left && word.tokens[i + 1] === right;
        out.push(joins ? left + right : word.tokens[i]!);
        if (joins) i++;
      }
      word.tokens = out;
    }
  }
  return merges;
}

function countsOf(words: readonly (readonly [string, number])[]): Counts {
  const starts = [0];
  for (const [word] of words) starts.push(starts.at(-1)! + word.length);
  const bytes = new Uint8Array(Buffer.from(words.map(([word]) => word).join('')));
  return {
    bytes,
    starts: Uint32Array.from(starts),
    counts: Float64Array.from(words, ([, count]) => count),
    dropped: 0,
  };
}

describe('learning merges', () => {
  const byteIds = Int32Array.from({ length: 256 }, (_, byte) => byte);
  const byteLetters = () => new Map(Array.from({ length: 256 }, (_, byte) => [String.fromCharCode(byte), byte]));

  it('is the rule, over few letters and long runs of them', () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 24 });
    const lists = fc.array(fc.tuple(word, fc.integer({ min: 1, max: 4 })), { minLength: 1, maxLength: 12 });
    const same = (words: [string, number][], least: number): void => {
      const learner = new MergeLearner(countsOf(words), byteIds, 256, 256 + 30, least);
      while (learner.run(3));
      const { table, tokens } = learner.take();
      const spell = new Map(tokens.map(([id, bytes]) => [id, Buffer.from(bytes).toString('latin1')]));
      const got = Array.from(table.left, (left, m) => `${spell.get(left)} ${spell.get(table.right[m]!)}`);
      expect(got).toEqual(learnByDefinition(words, byteLetters(), 256 + 30, least));
    };
    fc.assert(fc.property(lists, fc.integer({ min: 1, max: 3 }), same), { numRuns: 200 });
  });

  it('counts beyond 32 bits', () => {
    const words = [
      ['ab', 2 ** 33],
      ['cd', 2 ** 33 + 1],
      ['ef', 2 ** 32 + 5],
    ] as const;
    const learner = new MergeLearner(countsOf(words), byteIds, 256, 258, 2);
    while (learner.run(1));
    expect(Array.from(learner.take().table.left)).toEqual([...'ca'].map((letter) => letter.charCodeAt(0)));
  });
});

describe('counting pieces', () => {
  const chunk = (...texts: string[]) => {
    const parts = texts.map((text) => Buffer.from(text));
    let at = 0;
    return { bytes: new Uint8Array(Buffer.concat(parts)), ends: Int32Array.from(parts, (part) => (at += part.length)) };
  };
  const list = ({ bytes, starts, counts }: Counts): [string, number][] =>
    Array.from(counts, (count, i) => [Buffer.from(bytes.subarray(starts[i], starts[i + 1])).toString(), count]);

  it('keeps texts apart and counts each different piece', () => {
    const counter = new PieceCounter(PATTERNS.gpt2.split, 100, 1e9);
    counter.count(chunk('the cat', 'the', ' cat the'));
    expect(list(counter.take())).toEqual([
      ['the', 2],
      [' cat', 2],
      [' the', 1],
    ]);
  });

  it('cuts long pieces between characters', () => {
    const counter = new PieceCounter(PATTERNS.gpt2.split, 4, 1e9);
    counter.count(chunk('abcdefghij', '中中中', 'é'.repeat(3)));
    expect(list(counter.take())).toEqual([
      ['abcd', 1],
      ['efgh', 1],
      ['ij', 1],
      ['中', 3],
      ['éé', 1],
      ['é', 1],
    ]);
  });

  it('forgets the rarest under a memory limit, and says how many', () => {
    const limit = 60_000;
    const counter = new PieceCounter(PATTERNS.gpt2.split, 100, limit);
    for (let i = 0; i < 20_000; i += 100) {
      counter.count(chunk(...Array.from({ length: 100 }, (_, k) => `w${(i + k).toString(36)}`), 'common', 'common'));
      expect(counter.memory).toBeLessThan(limit);
    }
    const counts = counter.take();
    const total = counts.counts.reduce((sum, count) => sum + count, 0);
    expect(counts.dropped).toBeGreaterThan(0);
    expect(new Map(list(counts)).get('common')).toBe(400);
    expect(total).toBeLessThan(20_400);
  });
});

describe('trainBpe', () => {
  it('takes async texts, tells its progress, and is the same every time', async () => {
    const events: TrainProgress[] = [];
    async function* texts(): AsyncGenerator<string> {
      yield* SAMPLE;
    }
    const options = { vocabSize: 300, minFrequency: 1, specialTokens: ['<s>'] };
    const learned = await trainBpe(texts(), { ...options, onProgress: (event) => events.push(event) });
    expect(learned.vocabSize).toBe(300);
    expect(learned.tokenOf(0)).toBe('<s>');
    expect(learned.tokenOf(1)).toBe('!');
    expect(learned.fingerprint).toBe((await trainBpe(SAMPLE, options)).fingerprint);
    expect(events[0]).toEqual({ stage: 'count', texts: SAMPLE.length, bytes: Buffer.byteLength(SAMPLE.join('')) });
    expect(events.at(-1)).toMatchObject({ stage: 'merge', merges: 43, of: 43, dropped: 0 });
  });

  it('gives shown tokens one id each, and they stay part of the text', async () => {
    const learned = await trainBpe(SAMPLE, { vocabSize: 300, specialTokens: ['<s>'], shownTokens: ['<think>'] });
    const ids = [...learned.encode('a<think>b', { allowSpecial: new Set(['<think>']) })];
    expect(ids.filter((id) => id === 1)).toHaveLength(1);
    expect(learned.decode([0, ...ids], { skipSpecial: true })).toBe('a<think>b');
  });

  it('stops when no pair is frequent enough, and learns nothing from nothing', async () => {
    expect((await trainBpe(['ab ac'], { vocabSize: 1000 })).vocabSize).toBe(256);
    expect((await trainBpe(['ab\nab\n', 'ab'], { vocabSize: 1000 })).vocabSize).toBe(257);
    expect((await trainBpe([], { vocabSize: 1000 })).vocabSize).toBe(256);
  });

  it.each([
    [{ vocabSize: 256, specialTokens: ['<s>'] }, /vocabSize is 256, expected a whole number of at least 257/],
    [{ vocabSize: 300.5 }, /vocabSize is 300.5/],
    [{ vocabSize: 300, specialTokens: ['a', 'a'] }, /added tokens have "a"/],
    [{ vocabSize: 300, specialTokens: ['a'], shownTokens: ['a'] }, /added tokens have "a"/],
    [{ vocabSize: 300, specialTokens: [''] }, /added tokens have ""/],
    [{ vocabSize: 300, threads: 0 }, /threads is 0, expected at least 1/],
    [{ vocabSize: 300, minFrequency: Number.NaN }, /minFrequency is NaN/],
    [{ vocabSize: 300, maxPieceLength: 3 }, /maxPieceLength is 3, expected at least 4/],
  ])('refuses %j', async (options, sentence) => {
    await expect(trainBpe(SAMPLE, options)).rejects.toThrow(
      expect.objectContaining({ code: 'bad-argument', message: expect.stringMatching(sentence) }),
    );
  });
});

describe('compiled, with threads', () => {
  let built: string;
  beforeAll(() => {
    built = mkdtempSync(join(root, 'node_modules', '.tokenizer-'));
    const config = {
      extends: join(root, 'tsconfig.json'),
      compilerOptions: {
        noEmit: false,
        rootDir: join(root, 'src'),
        outDir: built,
        declaration: false,
        sourceMap: false,
      },
      include: [join(root, 'src/tokenizer'), join(root, 'src/errors.ts')],
    };
    writeFileSync(join(built, 'tsconfig.json'), JSON.stringify(config));
    writeFileSync(join(built, 'package.json'), '{"type":"module"}');
    execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', join(built, 'tsconfig.json')]);
  });
  afterAll(() => rmSync(built, { recursive: true }));

  const load = (file: string) => import(pathToFileURL(join(built, 'tokenizer', file)).href);
  const texts = Array.from({ length: 2000 }, (_, i) =>
    `${SAMPLE[i % SAMPLE.length]}${i % 97} ${(i * i).toString(36)} `.repeat(20),
  );

  it('learns what one thread learns', async () => {
    const compiled: { trainBpe: typeof trainBpe } = await load('index.js');
    const options = { vocabSize: 600, specialTokens: ['<s>'] };
    const one = await compiled.trainBpe(texts, { ...options, threads: 1 });
    const three = await compiled.trainBpe(texts, { ...options, threads: 3 });
    expect(three.fingerprint).toBe(one.fingerprint);
    expect(one.fingerprint).toBe((await trainBpe(texts, options)).fingerprint);
  });

  it('gives chunks to other threads, and ends with what all of them counted', async () => {
    const { CounterPool } = await load('learn/pool.js');
    await using pool = new CounterPool({ pattern: 'gpt2', maxPiece: 100, memoryLimit: 1e9 }, 3);
    const chunk = () => ({ bytes: new Uint8Array(Buffer.from('ab ab '.repeat(1000))), ends: Int32Array.of(6000) });
    for (let i = 0; i < 50; i++) {
      await pool.count(chunk());
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(pool.threads).toBe(3);
    const counts: Counts = await pool.finish();
    expect(counts.counts.reduce((sum, count) => sum + count, 0)).toBe(50 * 2000);
  });

  it('says so when a thread fails', async () => {
    const { CounterPool } = await load('learn/pool.js');
    await using pool = new CounterPool({ pattern: 'gpt2', maxPiece: 100, memoryLimit: 1e9 }, 2);
    const poison = () => ({ bytes: new Uint8Array(8), ends: { buffer: new ArrayBuffer(8) } }); // no list of ends
    const taken = () =>
      pool.count(poison()).then(
        () => true,
        () => false,
      ); // this thread refuses it at once
    while (!(await taken())) await new Promise((resolve) => setTimeout(resolve, 2));
    await expect(pool.finish()).rejects.toThrow(
      expect.objectContaining({
        code: 'internal',
        message: expect.stringMatching(/thread that counts .* failed: .*iterable/),
      }),
    );
  });
});
