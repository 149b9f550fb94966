import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { collect, openTokens, tokenize } from '../../src/data/index.js';
import { writeWhole } from '../../src/data/shards/format.js';
import type { TextStage } from '../../src/data/types.js';
import { BOS, byteTokenizer, EOS, tempFolder } from './helpers.js';

const lines = (count: number) => Array.from({ length: count }, (_, i) => `line ${i} ${'x'.repeat(i % 37)}`);

function corpus(texts: readonly string[], options = {}) {
  const folder = tempFolder({ 'a.jsonl': texts.map((text) => JSON.stringify({ text })).join('\n') });
  return collect(path.join(folder, 'a.jsonl'), options);
}

const asText = (ids: Int32Array) => Buffer.from(ids.filter((id) => id < 256)).toString();
const NONE = { validation: 0, test: 0 };

describe('tokenize', () => {
  test('documents come back as they were, over many shards, in order, with BOS and EOS', async () => {
    const texts = lines(200);
    const set = await tokenize(corpus(texts), byteTokenizer(), {
      cacheDir: tempFolder(),
      fractions: NONE,
      shardTokens: 500,
      bos: true,
    });
    const train = set.split('train');
    expect(readdirSync(set.folder).filter((name) => name.endsWith('.ids')).length).toBeGreaterThan(5);
    expect(train.documents).toBe(200);
    expect(train.bytes).toBe(Buffer.byteLength(texts.join('')));
    const documents = texts.map((_, i) => train.document(i));
    expect(documents.map(asText)).toEqual(texts);
    expect(documents.every((ids) => ids[0] === BOS && ids[ids.length - 1] === EOS)).toBe(true);
    expect(set.split('validation')).toMatchObject({ documents: 0, tokens: 0 });
    expect(train.tokenBytes?.[65]).toBe(1);
    expect(train.tokenBytes?.[EOS]).toBe(0);
    expect(set.report).toMatchObject({ files: 1, documents: 200 });
  });

  test('any range, and any position, over shard and block borders', async () => {
    const set = await tokenize(corpus(lines(3000)), byteTokenizer(), {
      cacheDir: tempFolder(),
      fractions: NONE,
      shardTokens: 50_000,
    });
    // One block of cache: every step evicts.
    const train = openTokens(set.folder, { cacheBytes: 1 }).split('train');
    const whole = new Int32Array(train.tokens);
    train.read(0, train.tokens, whole);
    expect(train.tokens).toBeGreaterThan(65_536);
    fc.assert(
      fc.property(fc.nat(train.tokens - 1), fc.nat(200), (start, size) => {
        const count = Math.min(size, train.tokens - start);
        const out = new Int32Array(count + 3).fill(-7);
        train.read(start, count, out, 2);
        expect([...out.subarray(2, 2 + count)]).toEqual([...whole.subarray(start, start + count)]);
        expect([out[0], out[1], out[count + 2]]).toEqual([-7, -7, -7]);
        const document = train.documentAt(start);
        expect(train.documentStart(document)).toBeLessThanOrEqual(start);
        expect(train.documentStart(document + 1)).toBeGreaterThan(start);
      }),
    );
    expect(() => train.read(train.tokens - 1, 2, new Int32Array(2))).toThrow(/token position \d+ is outside/);
    expect(() => train.documentStart(-1)).toThrow(/document -1 is outside/);
    expect(() => train.documentAt(train.tokens)).toThrow(/outside/);
  });

  test('a vocabulary above 65536 takes uint32', async () => {
    const wide = byteTokenizer({
      vocabSize: 100_000,
      encode: (text) => Uint32Array.from(Buffer.from(text), (byte) => byte + 90_000),
    });
    const set = await tokenize(corpus(['ab']), wide, { cacheDir: tempFolder(), fractions: NONE });
    expect([...set.split('train').document(0)]).toEqual([90_097, 90_098, EOS]);
  });

  test('splits are disjoint and together the corpus', async () => {
    const texts = lines(500);
    const set = await tokenize(corpus(texts), byteTokenizer(), {
      cacheDir: tempFolder(),
      fractions: { validation: 0.1, test: 0.1 },
    });
    const found = (['train', 'validation', 'test'] as const).flatMap((name) => {
      const stream = set.split(name);
      return Array.from({ length: stream.documents }, (_, i) => asText(stream.document(i)));
    });
    expect(found.sort()).toEqual([...texts].sort());
    expect(set.split('test').documents).toBeGreaterThan(20);
  });

  test('a small corpus still gets a validation and a test document, but never at the cost of training', async () => {
    const fractions = { validation: 0.001, test: 0.001 };
    const counts = async (texts: string[], options = {}) => {
      const set = await tokenize(corpus(texts, options), byteTokenizer(), { cacheDir: tempFolder(), fractions });
      return (['train', 'validation', 'test'] as const).map((name) => set.split(name).documents);
    };
    expect(await counts(['a', 'b', 'c', 'd', 'e'])).toEqual([3, 1, 1]);
    expect(await counts(['a', 'b'])).toEqual([1, 1, 0]);
    expect(await counts(['a'])).toEqual([1, 0, 0]);
    expect(await counts(['a', 'a', 'a'], { dedup: false })).toEqual([3, 0, 0]);
  });
});

describe('the cache', () => {
  test('a second call reads shards, not text; other settings make other shards', async () => {
    const cacheDir = tempFolder();
    const collection = corpus(lines(50));
    const tokenizer = byteTokenizer();
    const first = await tokenize(collection, tokenizer, { cacheDir });
    expect(tokenizer.calls).toBe(50);
    expect((await tokenize(collection, tokenizer, { cacheDir })).folder).toBe(first.folder);
    expect(tokenizer.calls).toBe(50);
    const keys = new Set([first.key]);
    keys.add((await tokenize(collection, byteTokenizer({ fingerprint: 'other' }), { cacheDir })).key);
    keys.add((await tokenize(collection, tokenizer, { cacheDir, bos: true })).key);
    keys.add((await tokenize(collection, tokenizer, { cacheDir, fractions: { validation: 0.5, test: 0 } })).key);
    keys.add((await tokenize(collect(collection.files[0]!.path, { dedup: false }), tokenizer, { cacheDir })).key);
    expect(keys.size).toBe(5);
  });

  test('a touched file keeps its shards, a changed one does not', async () => {
    const cacheDir = tempFolder();
    const folder = tempFolder({ 'a.txt': 'one', 'b.txt': 'two' });
    const key = async () => (await tokenize(collect(folder), byteTokenizer(), { cacheDir })).key;
    const first = await key();
    utimesSync(path.join(folder, 'a.txt'), 1, 1);
    expect(await key()).toBe(first);
    writeFileSync(path.join(folder, 'a.txt'), 'eno');
    expect(await key()).not.toBe(first);
  });

  test('killed at any document, the work goes on after the last shard and ends with the same bytes', async () => {
    const texts = lines(120);
    const fractions = { validation: 0.1, test: 0.05 };
    const collection = corpus(texts);
    const options = { fractions, shardTokens: 700 };
    const whole = await tokenize(collection, byteTokenizer(), { ...options, cacheDir: tempFolder() });
    for (const killAt of [1, 17, 60, 119, 120]) {
      const cacheDir = tempFolder();
      const dying = byteTokenizer({
        encode(text) {
          if (text === texts[killAt - 1]) throw new Error('killed');
          return Uint32Array.from(Buffer.from(text));
        },
      });
      await expect(tokenize(collection, dying, { ...options, cacheDir })).rejects.toThrow('killed');
      // A kill in the middle of a write leaves half a temporary file, and a shard that no manifest names.
      writeFileSync(path.join(cacheDir, whole.key, 'train-00000.ids.999999999.tmp'), 'half');
      expect(() => openTokens(path.join(cacheDir, whole.key))).toThrow(
        /holds (no token shards|token shards that were)/,
      );
      const tokenizer = byteTokenizer();
      const resumed = await tokenize(collection, tokenizer, { ...options, cacheDir });
      expect(tokenizer.calls).toBeLessThanOrEqual(120);
      if (killAt > 60) expect(tokenizer.calls).toBeLessThan(80);
      const names = readdirSync(whole.folder).sort();
      expect(readdirSync(resumed.folder).sort()).toEqual(names);
      for (const name of names) {
        const same = readFileSync(path.join(whole.folder, name)).equals(readFileSync(path.join(resumed.folder, name)));
        expect([name, same]).toEqual([name, true]);
      }
    }
  });

  test('progress is told, and what a stage drops is not tokenised', async () => {
    const short: TextStage = {
      name: 'at-least(10)',
      async *run(documents) {
        for await (const document of documents) if (document.text.length >= 10) yield document;
      },
    };
    const seen: number[] = [];
    const set = await tokenize(corpus(['tiny', 'long enough text'], { stages: [short] }), byteTokenizer(), {
      cacheDir: tempFolder(),
      fractions: NONE,
      onProgress: ({ tokens }) => seen.push(tokens),
    });
    expect(set.split('train').documents).toBe(1);
    expect(seen).toEqual([17]);
  });
});

describe('what can be wrong with shards', () => {
  const made = async () => {
    const set = await tokenize(corpus(lines(20)), byteTokenizer(), { cacheDir: tempFolder(), fractions: NONE });
    return set.folder;
  };

  test('missing or cut files are named', async () => {
    const folder = await made();
    truncateSync(path.join(folder, 'train-00000.ids'), 10);
    expect(() => openTokens(folder)).toThrow(/train-00000\.ids has 10 bytes, but the manifest says \d+ bytes; delete/);
    rmSync(path.join(folder, 'train-00000.docs'));
    rmSync(path.join(folder, 'train-00000.ids'));
    expect(() => openTokens(folder)).toThrow(/train-00000\.ids is missing/);
  });

  test('a flipped bit is found by its checksum; an id outside the vocabulary never leaves the reader', async () => {
    const folder = await made();
    const file = path.join(folder, 'train-00000.ids');
    const bytes = readFileSync(file);
    bytes[1]! ^= 0x80;
    writeFileSync(file, bytes);
    expect(() => openTokens(folder, { verify: true })).toThrow(/train-00000\.ids does not have its checksum/);
    const train = openTokens(folder).split('train');
    expect(() => train.document(0)).toThrow(/holds the id \d+ at position 0, but the vocabulary has 261/);
  });

  test('a damaged manifest is named', async () => {
    const folder = await made();
    writeFileSync(path.join(folder, 'manifest.json'), '{"format":"train-moe tokens"');
    expect(() => openTokens(folder)).toThrow(/manifest\.json is damaged or of another version; delete/);
    expect(() => openTokens(tempFolder())).toThrow(/holds no token shards/);
  });

  test('tokenizers that do not fit are refused', async () => {
    const collection = corpus(['a']);
    const run = (changes: object, options = {}) =>
      tokenize(collection, byteTokenizer(changes), { cacheDir: tempFolder(), fractions: NONE, ...options });
    await expect(run({ eosId: undefined })).rejects.toThrow(
      /has no eos token; give it a special token of a name .* or set eos to false/,
    );
    await expect(run({ bosId: undefined }, { bos: true })).rejects.toThrow(/has no bos token/);
    await expect(run({ encode: () => Uint32Array.of(261) })).rejects.toThrow(
      /gave the id 261, but says its vocabulary has 261/,
    );
    const plain = await run({ eosId: undefined }, { eos: false });
    expect([...plain.split('train').document(0)]).toEqual([97]);
    const none = await run({ encode: () => new Uint32Array(0) });
    expect(none.split('train').tokens).toBe(0);
  });
});

test('a document is delivered before the rest of its file is read', async () => {
  const folder = tempFolder({ 'a.jsonl': '{"text":"first"}\n' });
  // Sparse: costs no disk, but reading all of it would take far more time and memory than a test has.
  truncateSync(path.join(folder, 'a.jsonl'), 2 ** 40);
  for await (const { text } of collect(folder).documents()) {
    expect(text).toBe('first');
    break;
  }
});

test('a file that cannot be written is named, and leaves no part', () => {
  const folder = tempFolder();
  const file = path.join(folder, 'taken');
  mkdirSync(path.join(file, 'inside'), { recursive: true });
  expect(() => writeWhole(file, Buffer.from('text'))).toThrow(`Cannot write ${file}: `);
  expect(readdirSync(folder)).toEqual(['taken']);
});
