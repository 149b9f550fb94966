import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadTokenizer, openTokenizer, Tokenizer, trainBpe } from '../../src/tokenizer/index.js';
import { readSubwordJson } from '../../src/tokenizer/subword/read.js';
import { bertJson, xlnetJson } from './subword_files.js';
import { SAMPLE } from './texts.js';

const folder = mkdtempSync(join(tmpdir(), 'tokenizer-open-'));
afterAll(() => rmSync(folder, { recursive: true }));

const refusal = (sentence: RegExp, code = 'bad-data') =>
  expect.objectContaining({ name: 'TrainMoeError', code, message: expect.stringMatching(sentence) });
let made = 0;
/** A new folder with these files. */
function folderOf(files: Readonly<Record<string, string | object>>): string {
  const path = join(folder, String(made++));
  mkdirSync(path);
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(path, name), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return path;
}

describe('openTokenizer', () => {
  it('opens each kind by what the file holds', async () => {
    const bpe = await trainBpe(SAMPLE, { vocabSize: 300 });
    const opened = [bpe.toJson(), bertJson(['a']), xlnetJson({ '▁a': -1 })].map((json) =>
      openTokenizer(folderOf({ 'tokenizer.json': json })),
    );
    expect(opened.map((one) => one instanceof Tokenizer)).toEqual([true, false, false]);
    expect(opened.map((one) => one.type)).toEqual(['BPE', 'WordPiece', 'Unigram']);
  });

  it('opens files from before models had a type', () => {
    const untyped = (json: Readonly<Record<string, unknown>>) => ({
      ...json,
      model: { ...(json.model as object), type: undefined },
    });
    const bert = openTokenizer(folderOf({ 'tokenizer.json': untyped(bertJson(['a'])) }));
    expect(Array.from(bert.encode('A'))).toEqual([5]);
    const xlnet = openTokenizer(folderOf({ 'tokenizer.json': untyped(xlnetJson({ '▁a': -1 })) }));
    expect(Array.from(xlnet.encode('a'))).toEqual([4]);
  });

  it('takes the roles of tokens from tokenizer_config.json', () => {
    const path = folderOf({
      'tokenizer.json': bertJson(['a']),
      'tokenizer_config.json': { bos_token: '[CLS]', eos_token: { content: '[SEP]' }, mask_token: null, kept: 1 },
    });
    const tokenizer = openTokenizer(path);
    expect([tokenizer.bosId, tokenizer.eosId, tokenizer.maskId, tokenizer.padId]).toEqual([2, 3, undefined, 0]);
    expect(tokenizer.configJson()).toMatchObject({ bos_token: '[CLS]', mask_token: null, cls_token: '[CLS]', kept: 1 });
  });

  it('gives the same tokenizer after saving', () => {
    const first = openTokenizer(folderOf({ 'tokenizer.json': xlnetJson({ '▁a': -1, b: -2 }) }));
    const saved = join(folder, 'saved');
    first.save(saved);
    const again = openTokenizer(saved);
    expect(again.toJson()).toEqual(first.toJson());
    expect(again.fingerprint).toBe(first.fingerprint);
    expect(again.configJson()).toEqual(first.configJson());
    const other = openTokenizer(folderOf({ 'tokenizer.json': xlnetJson({ '▁a': -1, b: -3 }) }));
    expect(other.fingerprint).not.toBe(first.fingerprint);
  });

  it('says what is missing', () => {
    expect(() => openTokenizer(folderOf({}))).toThrow(
      refusal(/none of tokenizer\.json, .*vocab\.txt is there/, 'not-found'),
    );
    expect(() => openTokenizer(folderOf({ 'spiece.model': '' }))).toThrow(
      refusal(
        /is there; spiece\.model is not read: give the tokenizer\.json that transformers makes of it/,
        'not-found',
      ),
    );
    expect(() => openTokenizer(folderOf({ 'merges.txt': '' }))).toThrow(
      refusal(/merges\.txt needs vocab\.json beside it/, 'not-found'),
    );
  });
});

describe('loadTokenizer', () => {
  it('names the function that takes other kinds', () => {
    const sentence = refusal(/holds a WordPiece tokenizer, .* openTokenizer\(\) takes the others/);
    expect(() => loadTokenizer(folderOf({ 'tokenizer.json': bertJson(['a']) }))).toThrow(sentence);
    expect(() => loadTokenizer(folderOf({ 'vocab.txt': '[UNK]\na\n' }))).toThrow(sentence);
  });
});

describe('vocab.txt', () => {
  const lines = ['[PAD]', '[unused0]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', '##b', '中'];
  const spelled = (path: string, text: string): string => {
    const tokenizer = openTokenizer(path);
    return Array.from(tokenizer.encode(text, { allowSpecial: true }), (id) => tokenizer.tokenOf(id)).join(' ');
  };

  it('is BERT, with ids by line', () => {
    const path = folderOf({ 'vocab.txt': `${lines.join('\r\n')}\r\n` });
    const tokenizer = openTokenizer(path);
    expect(tokenizer.type).toBe('WordPiece');
    expect(tokenizer.vocabSize).toBe(9);
    expect(spelled(path, 'Áb 中[MASK]a x')).toBe('a ##b 中 [MASK] a [UNK]');
    expect(Array.from(tokenizer.encodePair('a', 'ab').ids)).toEqual([3, 6, 4, 6, 7, 4]);
    expect([tokenizer.padId, tokenizer.unkId, tokenizer.clsId, tokenizer.sepId, tokenizer.maskId]).toEqual([
      0, 2, 3, 4, 5,
    ]);
    const saved = join(folder, 'bert-saved');
    tokenizer.save(saved);
    expect(openTokenizer(saved).encodePair('a', 'ab 中')).toEqual(tokenizer.encodePair('a', 'ab 中'));
    expect(spelled(join(path, 'vocab.txt'), 'AB')).toBe('a ##b');
  });

  it('is read as tokenizer_config.json says', () => {
    const config = { do_lower_case: false, strip_accents: true, tokenize_chinese_chars: false, unk_token: '[unused0]' };
    const path = folderOf({ 'vocab.txt': lines.join('\n'), 'tokenizer_config.json': config });
    expect(spelled(path, 'Á áb a中')).toBe('[unused0] a ##b [unused0]');
    expect(openTokenizer(path).unkId).toBe(1);
  });

  it('is lower-cased unless it has capitals, where nothing says it', () => {
    const cased = folderOf({ 'vocab.txt': [...lines, 'Á'].join('\n') });
    expect(spelled(cased, 'Á á')).toBe('Á [UNK]');
  });

  it('needs its unknown token, and without [CLS] or [SEP] puts nothing around texts', () => {
    expect(() => openTokenizer(folderOf({ 'vocab.txt': 'a\nb\n' }))).toThrow(
      refusal(/vocab\.txt: model\.unk_token is "\[UNK\]", which the vocabulary does not have/),
    );
    const plain = openTokenizer(folderOf({ 'vocab.txt': '[UNK]\na\n' }));
    expect(Array.from(plain.encodePair('a', 'a').ids)).toEqual([1, 1]);
  });
});

describe('files that leave out what they do not use', () => {
  const bare = ({ version: _, truncation: _t, padding: _p, normalizer: _n, post_processor: _pp, ...rest }: Json) =>
    rest;
  type Json = ReturnType<typeof bertJson>;

  it('are read, as Hugging Face reads them', () => {
    const tokenizer = readSubwordJson(bare(bertJson(['a'])), 'x.json');
    expect(Array.from(tokenizer.encodePair('a', 'a').ids)).toEqual([
      ...tokenizer.encode('a'),
      ...tokenizer.encode('a'),
    ]);
    expect(readSubwordJson(bare(xlnetJson({ '▁a': -1 })), 'x.json').encode('a').length).toBe(1);
  });
});

describe('damaged files', () => {
  type Json = ReturnType<typeof bertJson>;
  const read = (json: unknown) => () => readSubwordJson(json, 'x.json');
  const model = (json: Json, change: object) => read({ ...json, model: { ...(json.model as object), ...change } });
  const bert = bertJson(['a']);
  const xlnet = xlnetJson({ a: -1 });
  const added = (token: object) => read({ ...bert, added_tokens: [{ id: 5, content: 'a', ...token }] });

  it('name the place that does not fit', () => {
    expect(read(null)).toThrow(refusal(/^x\.json: the file does not fit a tokenizer\.json/));
    expect(model(bert, { vocab: ['a'] })).toThrow(refusal(/model\.vocab does not fit .* WordPiece model/));
    expect(model(bert, { max_input_chars_per_word: -1 })).toThrow(refusal(/model\.max_input_chars_per_word/));
    expect(model(xlnet, { vocab: {} })).toThrow(refusal(/model\.vocab does not fit .* Unigram model/));
    expect(model(xlnet, { byte_fallback: true })).toThrow(refusal(/model\.byte_fallback .*only false is supported/));
    expect(read({ ...bert, decoder: { type: 'BPEDecoder' } })).toThrow(refusal(/decoder has type "BPEDecoder"; supp/));
    expect(read({ ...bert, decoder: { type: 'WordPiece', prefix: 1 } })).toThrow(refusal(/decoder\.prefix/));
    expect(read({ ...xlnet, decoder: { type: 'Metaspace' } })).toThrow(refusal(/decoder\.replacement/));
    expect(added({ id: 'a' })).toThrow(refusal(/added_tokens\.0\.id/));
  });

  it('name the token that is wrong', () => {
    const vocab = (change: object) => model(bert, { vocab: { '[UNK]': 1, ...change } });
    expect(vocab({ a: 1 })).toThrow(refusal(/id 1 belongs to two tokens, "\[UNK\]" and "a"/));
    expect(vocab({ a: 'b' })).toThrow(refusal(/"a" has id "b", expected a whole number/));
    expect(vocab({ a: 1e9 })).toThrow(refusal(/"a" has id 1000000000/));
    expect(model(bert, { unk_token: '<unk>' })).toThrow(refusal(/unk_token is "<unk>", which the vocabulary does not/));
    expect(model(xlnet, { vocab: [['a', -1], ['b']] })).toThrow(refusal(/entry 1 of the vocabulary is \["b"\], exp/));
    expect(model(xlnet, { vocab: [['a', null]] })).toThrow(refusal(/entry 0 of the vocabulary/));
    expect(model(xlnet, { vocab: [] })).toThrow(refusal(/unk_id is 0, and the vocabulary has 0 tokens/));
    expect(model(xlnet, { unk_id: 5 })).toThrow(refusal(/unk_id is 5, and the vocabulary has 5 tokens/));
    expect(added({ id: 3 })).toThrow(refusal(/the added token "a" has id 3, but 5 in the vocabulary/));
    expect(added({ content: 'b' })).toThrow(refusal(/id 5 belongs to two tokens, "a" and "b"/));
    expect(added({ id: 1.5, content: 'b' })).toThrow(refusal(/"b" has id 1\.5/));
  });
});
