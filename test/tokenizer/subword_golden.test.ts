import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openTokenizer, type TextTokenizer } from '../../src/tokenizer/index.js';
import { sharedPath } from '../shared.js';

interface Golden {
  readonly text: string;
  readonly ids: readonly number[];
  readonly decoded?: string;
  readonly utf16?: string;
  readonly pair?: string;
  readonly special?: true;
  readonly type_ids?: readonly number[];
}

const goldens = sharedPath('golden/tokenizers');

describe.skipIf(!goldens)('ids equal to those of the reference library (skipped without the shared goldens)', () => {
  const names = ['wordpiece-uncased', 'wordpiece-cased', 'unigram-albert', 'unigram-xlnet'];
  it.each(names)('%s', (name) => {
    const folder = join(goldens!, name);
    const tokenizer = openTokenizer(folder);
    const lines = readFileSync(join(folder, 'encode.jsonl'), 'utf8').trimEnd().split('\n');
    const all = lines.map((line): Golden => JSON.parse(line));
    expect(all.filter((golden) => !golden.special)).toHaveLength(300);
    expect(all.filter((golden) => golden.pair)).not.toHaveLength(0);
    for (const golden of all) (golden.special ? holdTemplate : holdText)(tokenizer, golden);
  });
});

function holdText(tokenizer: TextTokenizer, { text, utf16, ids, decoded }: Golden): void {
  for (const written of [text, utf16 ?? text]) {
    expect(Array.from(tokenizer.encode(written, { allowSpecial: true })), JSON.stringify(written)).toEqual(ids);
  }
  expect(tokenizer.decode(ids), JSON.stringify(text)).toBe(decoded ?? text);
}

function holdTemplate(tokenizer: TextTokenizer, { text, pair, ids, type_ids }: Golden): void {
  const allowed = { allowSpecial: true };
  const encoded = pair
    ? tokenizer.encodePair(text, pair, allowed)
    : tokenizer.withSpecials(tokenizer.encode(text, allowed));
  expect(Array.from(encoded.ids), JSON.stringify([text, pair])).toEqual(ids);
  expect(Array.from(encoded.typeIds), JSON.stringify([text, pair])).toEqual(type_ids);
}
