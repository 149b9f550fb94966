import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { type BatchOptions, batches, collect, type TokenStream, tokenize } from '../../src/data/index.js';
import { type Batch, IGNORE } from '../../src/data/types.js';
import { BOS, byteTokenizer, EOS, FIM, tempFolder } from './helpers.js';

const texts = Array.from({ length: 60 }, (_, i) => `${i}:${'abcdefghij'.repeat(i % 7)}${i % 5 === 0 ? 'é😀' : ''}`);
let shards: TokenStream;
/** Every token of the stream, and the index of its document. */
let stream: number[];
let documentOf: number[];

async function makeShards(list: readonly string[], options = {}): Promise<TokenStream> {
  const folder = tempFolder({ 'a.jsonl': list.map((text) => JSON.stringify({ text })).join('\n') });
  const set = await tokenize(collect(folder, { dedup: false }), byteTokenizer(), {
    cacheDir: folder,
    fractions: { validation: 0, test: 0 },
    shardTokens: 300,
    bos: true,
    ...options,
  });
  return set.split('train');
}

beforeAll(() => {
  stream = [];
  documentOf = [];
  texts.forEach((text, i) => {
    const ids = [BOS, ...Buffer.from(text), EOS];
    stream.push(...ids);
    documentOf.push(...ids.map(() => i));
  });
});

const rowsOf = (batch: Batch) =>
  Array.from({ length: batch.rows }, (_, r) => {
    const cut = (a: Int32Array) => [...a.subarray(r * batch.length, (r + 1) * batch.length)];
    return { ids: cut(batch.ids), targets: cut(batch.targets), documentStart: cut(batch.documentStart) };
  });

function collectRows(options: BatchOptions) {
  return [...batches(options)].flatMap(rowsOf);
}

const lengths = fc.integer({ min: 1, max: 97 });

describe('stream packing', () => {
  test('windows are the stream cut at every T, each token but the first a target once', async () => {
    shards = await makeShards(texts);
    fc.assert(
      fc.property(lengths, fc.integer({ min: 1, max: 9 }), (length, rows) => {
        const all = collectRows({ shards, rows, length, order: 'sequential', epochs: 1 });
        expect(all.length).toBe(Math.ceil((stream.length - 1) / length));
        expect(all.flatMap((row) => row.targets).filter((id) => id !== IGNORE)).toEqual(stream.slice(1));
        const fill = <T>(values: readonly T[], filler: T) =>
          [...values, ...Array<T>(length).fill(filler)].slice(0, length);
        all.forEach((row, w) => {
          const [start, end] = [w * length, Math.min((w + 1) * length, stream.length - 1)];
          expect(row.ids).toEqual(fill(stream.slice(start, end), EOS));
          expect(row.targets).toEqual(fill(stream.slice(start + 1, end + 1), IGNORE));
          expect(row.documentStart).toEqual(Array(length).fill(0));
        });
      }),
      { numRuns: 25 },
    );
  });

  test('a shuffled epoch holds the same windows in another order', async () => {
    shards = await makeShards(texts);
    const key = (row: { ids: number[]; targets: number[] }) => `${row.ids}|${row.targets}`;
    const sequential = collectRows({ shards, rows: 4, length: 10, order: 'sequential', epochs: 1 }).map(key);
    const epochs = collectRows({ shards, rows: 4, length: 10, epochs: 2, seed: 5 }).map(key);
    const n = sequential.length;
    const [first, second] = [epochs.slice(0, n), epochs.slice(n)];
    expect([...first].sort()).toEqual([...sequential].sort());
    expect([...second].sort()).toEqual([...sequential].sort());
    expect(first).not.toEqual(sequential);
    expect(first).not.toEqual(second);
  });
});

describe('document packing', () => {
  test('each position knows its document; first tokens of documents are not trained', async () => {
    shards = await makeShards(texts);
    fc.assert(
      fc.property(lengths, (length) => {
        const batch = batches({ shards, rows: 10_000, length, order: 'sequential', epochs: 1, packing: 'documents' });
        const whole = batch.next().value!;
        let trained = 0;
        rowsOf(whole).forEach((row, w) => {
          const expected = row.ids.map((_, t) => {
            const at = w * length + t;
            if (at + 1 >= stream.length) return [EOS, IGNORE, stream.length - 1 - w * length];
            const same = documentOf[at] === documentOf[at + 1];
            if (same) trained++;
            const begin = documentOf.indexOf(documentOf[at]!) - w * length;
            return [stream[at], same ? stream[at + 1] : IGNORE, Math.max(0, begin)];
          });
          expect(row.ids.map((id, t) => [id, row.targets[t], row.documentStart[t]])).toEqual(expected);
        });
        expect(whole.trainedTokens).toBe(trained);
        expect(trained).toBe(stream.length - texts.length);
      }),
      { numRuns: 25 },
    );
  });

  test('a document longer than several rows', async () => {
    shards = await makeShards(['x'.repeat(50), 'yz']);
    const all = collectRows({ shards, rows: 1, length: 20, order: 'sequential', epochs: 1, packing: 'documents' });
    expect(all.map((row) => row.documentStart.join(','))).toEqual([
      Array(20).fill(0).join(','),
      Array(20).fill(0).join(','),
      [...Array(12).fill(0), 12, 12, 12, ...Array(5).fill(15)].join(','),
    ]);
    expect(all[2]!.targets.slice(10)).toEqual([EOS, IGNORE, 121, 122, EOS, ...Array(5).fill(IGNORE)]);
  });
});

describe('counts', () => {
  test('trained tokens and bytes are those of the targets', async () => {
    shards = await makeShards(texts);
    let bytes = 0;
    let trained = 0;
    for (const batch of batches({ shards, rows: 3, length: 16, epochs: 1 })) {
      expect(batch.trainedTokens).toBe(batch.targets.filter((id) => id !== IGNORE).length);
      trained += batch.trainedTokens;
      bytes += batch.bytes;
    }
    expect(trained).toBe(stream.length - 1);
    // Each byte of text is one token and, as a document starts with BOS, a target.
    expect(bytes).toBe(Buffer.byteLength(texts.join('')));
    expect(bytes).toBe(shards.bytes);
  });
});

describe('state', () => {
  const fim = { ...FIM, rate: 0.4 };

  test('after any step, under any ramp, with FIM and over epochs: resumed batches equal uninterrupted ones', async () => {
    shards = await makeShards(texts.slice(0, 20));
    const ramp = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 2, maxLength: 12 });
    await fc.assert(
      fc.property(ramp, fc.nat(), fc.boolean(), fc.maxSafeInteger(), (steps, cut, documents, seed) => {
        const options = {
          shards,
          rows: 1,
          length: 13,
          seed,
          fim,
          packing: documents ? 'documents' : 'stream',
        } as const;
        const whole = batches(options);
        const expected = steps.map((rows) => whole.next(rows).value);
        const at = cut % steps.length;
        const before = batches(options);
        for (const rows of steps.slice(0, at)) before.next(rows);
        const state = JSON.parse(JSON.stringify(before.state));
        expect(Object.keys(state).sort()).toEqual(['epoch', 'index', 'seed']);
        const { seed: _, ...rest } = options;
        const after = batches({ ...rest, state });
        expect(steps.slice(at).map((rows) => after.next(rows).value)).toEqual(expected.slice(at));
        expect(after.state).toEqual(whole.state);
      }),
      { numRuns: 60 },
    );
  });

  test('what is seen does not depend on the rows per step', async () => {
    shards = await makeShards(texts);
    const take = (rows: number[]) => {
      const iterator = batches({ shards, rows: 1, length: 11, seed: 3 });
      return rows.flatMap((n) => rowsOf(iterator.next(n).value!));
    };
    expect(take([32])).toEqual(take(Array(32).fill(1)));
    expect(take([32])).toEqual(take([4, 8, 16, 3, 1]));
  });

  test('epochs end exactly, the last batch short', async () => {
    shards = await makeShards(texts);
    const windows = Math.ceil((stream.length - 1) / 10);
    const iterator = batches({ shards, rows: windows - 1, length: 10, epochs: 2 });
    expect([...iterator].map((batch) => batch.rows)).toEqual([windows - 1, windows - 1, 2]);
    expect(iterator.state).toEqual({ seed: 0, epoch: 2, index: 0 });
    expect(iterator.next()).toEqual({ done: true, value: undefined });
    const resumed = batches({ shards, rows: 1, length: 10, epochs: 2, state: iterator.state });
    expect(resumed.next().done).toBe(true);
  });

  test('impossible requests are refused with a sentence', async () => {
    shards = await makeShards(texts);
    const open = (changes: Partial<BatchOptions>) => () => batches({ shards, rows: 1, length: 10, ...changes });
    expect(open({ rows: 0 })).toThrow(/rows is 0, expected a whole number of at least 1/);
    expect(open({ length: 1.5 })).toThrow(/length is 1\.5/);
    expect(open({ seed: 0.5 })).toThrow(/the seed is 0\.5/);
    expect(open({ seed: 1, state: { seed: 2, epoch: 0, index: 0 } })).toThrow(/has seed 2; leave the seed out/);
    expect(open({ state: { seed: 1, epoch: 0, index: 10_000 } })).toThrow(/stands at window 10000, but the epoch has/);
    expect(() => batches({ shards, rows: 1, length: 4 }).next(-1)).toThrow(/rows is -1/);
    expect(open({ fim: { ...FIM, rate: 2 } })).toThrow(/FIM rate is 2/);
    expect(open({ fim: { ...FIM, holeId: 999 } })).toThrow(/FIM holeId is 999, expected an id below the vocabulary/);
    const single = await makeShards(['a'], { bos: false, eos: false });
    expect(() => batches({ shards: single, rows: 1, length: 4 })).toThrow(/hold 1 tokens; at least 2/);
  });
});

describe('fill in the middle', () => {
  /** The documents of an epoch, read from its windows in order. */
  function documentsOf(epoch: number, options: Partial<BatchOptions> = {}, seed = 9): number[][] {
    const all = { shards, rows: 50, length: 29, order: 'sequential', epochs: epoch + 1, seed, ...options } as const;
    const rows = collectRows({ ...all, state: { seed, epoch, index: 0 } });
    const tokens = [rows[0]!.ids[0]!, ...rows.flatMap((row) => row.targets).filter((id) => id !== IGNORE)];
    const out: number[][] = [];
    for (let from = 0; from < tokens.length; ) {
      const to = tokens.indexOf(EOS, from) + 1;
      out.push(tokens.slice(from, to));
      from = to;
    }
    return out;
  }

  /** [bos] <begin> prefix <hole> suffix <end> middle [eos], undone; undefined for a plain document. */
  function undo(ids: readonly number[]): { text: string; cut: number } | undefined {
    if (ids[1] !== FIM.beginId) return undefined;
    const hole = ids.indexOf(FIM.holeId);
    const end = ids.indexOf(FIM.endId);
    const [prefix, suffix, middle] = [ids.slice(2, hole), ids.slice(hole + 1, end), ids.slice(end + 1, -1)];
    expect(ids.filter((id) => id > 255)).toEqual([BOS, FIM.beginId, FIM.holeId, FIM.endId, EOS]);
    return { text: Buffer.from([...prefix, ...middle, ...suffix]).toString(), cut: prefix.length };
  }

  test('chosen documents hold prefix, suffix, middle; the others are as they were', async () => {
    const many = Array.from({ length: 900 }, (_, i) => `document number ${i} ${'z'.repeat(i % 11)}`);
    shards = await makeShards(many);
    for (const rate of [0.1, 0.5, 1, 0]) {
      const documents = documentsOf(0, { fim: { ...FIM, rate } });
      expect(documents.length).toBe(many.length);
      let chosen = 0;
      documents.forEach((ids, i) => {
        const undone = undo(ids);
        if (undone !== undefined) chosen++;
        expect(undone?.text ?? Buffer.from(ids.slice(1, -1)).toString()).toBe(many[i]);
      });
      expect(Math.abs(chosen - rate * many.length)).toBeLessThanOrEqual(5 * Math.sqrt(900 * rate * (1 - rate)));
    }
  });

  test('the rate is one tenth when it is not given; choice and cuts differ by epoch and seed', async () => {
    const many = Array.from({ length: 900 }, (_, i) => `document number ${i}`);
    shards = await makeShards(many);
    const places = (epoch: number, seed: number) =>
      documentsOf(epoch, { fim: FIM }, seed).flatMap((ids, i) => {
        const undone = undo(ids);
        return undone === undefined ? [] : [`${i}:${undone.cut}`];
      });
    const first = places(0, 9);
    expect(first.length).toBeGreaterThan(45);
    expect(first.length).toBeLessThan(135);
    expect(new Set(first.map((place) => place.split(':')[1])).size).toBeGreaterThan(10);
    expect(places(1, 9)).not.toEqual(first);
    expect(places(0, 10)).not.toEqual(first);
    expect(places(0, 9)).toEqual(first);
  });

  test('windows read at random equal windows read in order; document starts follow the longer documents', async () => {
    shards = await makeShards(texts);
    const options = {
      shards,
      rows: 7,
      length: 17,
      seed: 4,
      epochs: 1,
      packing: 'documents',
      fim: { ...FIM, rate: 0.5 },
    } as const;
    const key = (row: object) => JSON.stringify(row);
    const ordered = collectRows({ ...options, order: 'sequential' });
    expect(collectRows(options).map(key).sort()).toEqual(ordered.map(key).sort());
    let starts = 0;
    for (const row of ordered) {
      row.ids.forEach((id, t) => {
        const padding = row.targets[t] === IGNORE && id === EOS && row.ids[t - 1] === EOS;
        if (id !== BOS) return;
        starts++;
        expect([padding, row.documentStart[t]]).toEqual([false, t]);
      });
    }
    expect(starts).toBe(texts.length);
  });
});
