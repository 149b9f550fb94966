import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as cl100k from 'gpt-tokenizer/encoding/cl100k_base';
import * as o200k from 'gpt-tokenizer/encoding/o200k_base';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadTokenizer, type Tokenizer, trainBpe } from '../../src/tokenizer/index.js';
import { readTokenizerJson } from '../../src/tokenizer/read.js';
import type { TokenizerJson } from '../../src/tokenizer/write.js';
import { installed } from './installed.js';
import { SAMPLE } from './texts.js';

let folder: string;
let learned: Tokenizer;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tokenizer-'));
  learned = await trainBpe(SAMPLE, { vocabSize: 320, specialTokens: ['<s>', '</s>'] });
});
afterAll(() => rmSync(folder, { recursive: true }));

const text = SAMPLE.join('');
const refusal = (code: string, sentence: RegExp) =>
  expect.objectContaining({ name: 'TrainMoeError', code, message: expect.stringMatching(sentence) });
function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe('saving and loading', () => {
  it('gives the same tokenizer back, from the folder and from the file', () => {
    const path = join(folder, 'saved');
    learned.save(path);
    for (const loaded of [loadTokenizer(path), loadTokenizer(join(path, 'tokenizer.json'))]) {
      expect(loaded.fingerprint).toBe(learned.fingerprint);
      expect(loaded.encode(text)).toEqual(learned.encode(text));
      expect([loaded.bosId, loaded.eosId, loaded.padId]).toEqual([0, 1, undefined]);
    }
    expect(JSON.parse(readFileSync(join(path, 'tokenizer_config.json'), 'utf8'))).toMatchObject({
      bos_token: '<s>',
      eos_token: '</s>',
    });
  });

  it('keeps what a file says beyond the vocabulary', () => {
    const json = learned.toJson();
    const template = { type: 'TemplateProcessing', single: [], pair: [], special_tokens: {} };
    const again = readTokenizerJson({ ...json, post_processor: template, normalizer: { type: 'NFC' } }, 'x.json');
    expect(again.toJson()).toEqual({ ...json, post_processor: template, normalizer: { type: 'NFC' } });
    expect(again.encode('e\u0301')).toEqual(learned.encode('é'));
    expect(again.fingerprint).not.toBe(learned.fingerprint);
  });

  it('reads merges as pairs, and roles from tokenizer_config.json', () => {
    const json = learned.toJson();
    const pairs = { ...json, model: { ...json.model, merges: json.model.merges.map((merge) => merge.split(' ')) } };
    const config = { bos_token: { content: '</s>' }, eos_token: '<s>', pad_token: null };
    const again = readTokenizerJson(pairs, 'x.json', config);
    expect(again.encode(text)).toEqual(learned.encode(text));
    expect([again.bosId, again.eosId, again.padId]).toEqual([1, 0, undefined]);
  });

  it('honours the white space and word options of added tokens', () => {
    const json = learned.toJson();
    const [first, second] = json.added_tokens;
    const added_tokens = [
      { ...first!, lstrip: true, rstrip: true },
      { ...second!, single_word: true },
    ];
    const tokenizer = readTokenizerJson({ ...json, added_tokens }, 'x.json');
    const ids = (each: string): number[] => Array.from(tokenizer.encode(each, { allowSpecial: true }));
    expect(ids('a \n<s>  b')).toEqual([...learned.encode('a'), 0, ...learned.encode('b')]);
    expect(ids('a </s>')).toEqual([...learned.encode('a '), 1]);
    expect(ids('a</s>')).toEqual(Array.from(learned.encode('a</s>')));
  });

  it('puts a space before text where the file asks for it', () => {
    const json = learned.toJson();
    const prefixed = { ...json, pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true, use_regex: true } };
    const tokenizer = readTokenizerJson(prefixed, 'x.json');
    expect(tokenizer.decode(tokenizer.encode('a'))).toBe(' a');
    expect(tokenizer.decode(tokenizer.encode(' a'))).toBe(' a');
  });
});

describe('.tiktoken files', () => {
  it.each([
    ['cl100k_base', cl100k],
    ['o200k_base', o200k],
  ] as const)('%s gives the ids of another implementation', (name, other) => {
    const tokenizer = loadTokenizer(installed(`gpt-tokenizer/data/${name}.tiktoken`));
    const special = tokenizer.encode('a<|endoftext|>', { allowSpecial: true });
    expect(special[1]).toBe(name === 'cl100k_base' ? 100257 : 199999);
    expect(tokenizer.eosId).toBe(special[1]);
    for (const line of [...SAMPLE, text, readFileSync(installed('gpt-tokenizer/README.md'), 'utf8')]) {
      expect(Array.from(tokenizer.encode(line))).toEqual(other.encode(line));
    }
  });

  it('are written as tokenizer.json with every merge that their ranks imply', () => {
    const tokenizer = loadTokenizer(installed('gpt-tokenizer/data/r50k_base.tiktoken'));
    const again = readTokenizerJson(JSON.parse(JSON.stringify(tokenizer.toJson())), 'again');
    expect(again.encode(text)).toEqual(tokenizer.encode(text));
  });

  it('refuses files that are cut short, doubled, or of a pattern nobody named', () => {
    const content = readFileSync(installed('gpt-tokenizer/data/r50k_base.tiktoken'), 'utf8');
    const cut = file('cut_r50k_base.tiktoken', content.slice(0, 5000).replace(/ \d+\n?$/, ''));
    expect(() => loadTokenizer(cut)).toThrow(refusal('bad-data', /line \d+ is ".*cut short/));
    const few = file('few_r50k_base.tiktoken', content.split('\n').slice(0, 100).join('\n'));
    expect(() => loadTokenizer(few)).toThrow(refusal('bad-data', /no token for \d+ of the single bytes/));
    const twice = file('twice_r50k_base.tiktoken', `${content}IQ== 99999\n`);
    expect(() => loadTokenizer(twice)).toThrow(refusal('bad-data', /line \d+ repeats the token IQ==/));
    const sameId = file('same_r50k_base.tiktoken', `${content.trimEnd()}\nAAAAAAAA 0\n`);
    expect(() => loadTokenizer(sameId)).toThrow(refusal('bad-data', /id 0 belongs to two tokens/));
    expect(() => loadTokenizer(file('mine.tiktoken', content))).toThrow(
      refusal('bad-argument', /give the option pattern/),
    );
    expect(loadTokenizer(file('mine.tiktoken', content), { pattern: 'gpt2' }).vocabSize).toBe(50256);
  });
});

describe('damaged files', () => {
  const broken =
    (change: (json: TokenizerJson) => unknown): (() => Tokenizer) =>
    () =>
      readTokenizerJson(change(learned.toJson()), 'x.json');
  const withModel = (model: object) => broken((json) => ({ ...json, model: { ...json.model, ...model } }));

  it('names the place that does not fit', () => {
    expect(broken(() => null)).toThrow(refusal('bad-data', /^x\.json: the file does not fit/));
    expect(broken((json) => ({ ...json, model: undefined }))).toThrow(refusal('bad-data', /: model does not fit/));
    expect(broken((json) => ({ ...json, added_tokens: [{ id: 'a', content: 'b' }] }))).toThrow(
      refusal('bad-data', /added_tokens\.0\.id/),
    );
    expect(withModel({ type: 'WordPiece' })).toThrow(refusal('bad-data', /model\.type is "WordPiece"/));
    expect(withModel({ vocab: [] })).toThrow(refusal('bad-data', /model\.vocab/));
    expect(withModel({ merges: undefined })).toThrow(refusal('bad-data', /model\.merges/));
    expect(withModel({ byte_fallback: true })).toThrow(refusal('bad-data', /model\.byte_fallback/));
    expect(broken((json) => ({ ...json, normalizer: { type: 'Lowercase' } }))).toThrow(
      refusal('bad-data', /normalizer has type "Lowercase"/),
    );
  });

  it('names the token or merge that is wrong', () => {
    const json = learned.toJson();
    const vocab = (change: Record<string, number>) => withModel({ vocab: { ...json.model.vocab, ...change } });
    const merges = (...more: unknown[]) => withModel({ merges: [...json.model.merges, ...more] });
    expect(vocab({ zz: json.model.vocab.a! })).toThrow(
      refusal('bad-data', /id \d+ belongs to two tokens, "a" and "zz"/),
    );
    expect(vocab({ zz: -1 })).toThrow(refusal('bad-data', /"zz" has id -1/));
    expect(vocab({ zz: 1e9 })).toThrow(refusal('bad-data', /"zz" has id 1000000000/));
    expect(vocab({ zz: 1.5 })).toThrow(refusal('bad-data', /"zz" has id 1.5/));
    expect(vocab({ '▁the': 999 })).toThrow(refusal('bad-data', /"▁the" is not written in byte letters/));
    expect(merges('a')).toThrow(refusal('bad-data', /merge \d+ is "a", expected two tokens/));
    expect(merges(['a', 'b', 'c'])).toThrow(refusal('bad-data', /expected two tokens/));
    expect(merges(7)).toThrow(refusal('bad-data', /merge \d+ is 7/));
    expect(merges('Z ZZZ')).toThrow(refusal('bad-data', /needs the token "ZZZ"/));
    expect(merges(json.model.merges[0])).toThrow(refusal('bad-data', /merges 1 and \d+ are the same/));
    const { a: _, ...withoutA } = json.model.vocab;
    expect(withModel({ vocab: withoutA, merges: [] })).toThrow(
      refusal('bad-data', /no token for 1 of the single bytes \(the first is 97\)/),
    );
  });

  it('says what is missing on disk', () => {
    expect(() => loadTokenizer(join(folder, 'nowhere'))).toThrow(refusal('not-found', /no such file or folder/));
    expect(() => loadTokenizer(mkdtempSync(join(folder, 'empty-')))).toThrow(
      refusal('not-found', /none of tokenizer\.json, vocab\.json/),
    );
    expect(() => loadTokenizer(file('cut.json', JSON.stringify(learned.toJson()).slice(0, 1000)))).toThrow(
      refusal('bad-data', /cut\.json is no JSON/),
    );
  });

  it('says what is wrong with a pair of GPT-2 files', () => {
    const vocab = file('vocab.json', JSON.stringify(learned.toJson().model.vocab));
    expect(() => loadTokenizer(vocab)).toThrow(refusal('not-found', /vocab\.json needs merges\.txt beside it/));
    const good = learned.toJson().model.merges.join('\n');
    file('merges.txt', `#version: 0.2\n${good}\n`);
    const loaded = loadTokenizer(vocab);
    expect(loaded.toJson().model).toEqual(learned.toJson().model);
    file('merges.txt', `#version: 0.2\n${good}\nZ`);
    expect(() => loadTokenizer(vocab)).toThrow(refusal('bad-data', /merge \d+ is "Z"/));
    file('vocab.json', '["a"]');
    expect(() => loadTokenizer(vocab)).toThrow(refusal('bad-data', /no JSON object/));
    file('vocab.json', '{"a": "b"}');
    expect(() => loadTokenizer(vocab)).toThrow(refusal('bad-data', /the token "a" has the id "b"/));
  });
});
