import { beforeAll, describe, expect, it } from 'vitest';
import { type Encoded, type TextTokenizer, type Tokenizer, trainBpe } from '../../src/tokenizer/index.js';
import { readPostProcessor } from '../../src/tokenizer/post_processor.js';
import { readTokenizerJson } from '../../src/tokenizer/read.js';
import { readSubwordJson } from '../../src/tokenizer/subword/read.js';
import { bertJson, xlnetJson } from './subword_files.js';
import { SAMPLE } from './texts.js';

const refusal = (sentence: RegExp) =>
  expect.objectContaining({ name: 'TrainMoeError', code: 'bad-data', message: expect.stringMatching(sentence) });

/** Tokens with their segments: "[CLS]:0 a:0". */
const shown = (tokenizer: TextTokenizer, { ids, typeIds }: Encoded): string =>
  Array.from(ids, (id, i) => `${tokenizer.tokenOf(id)}:${typeIds[i]}`).join(' ');

describe('what goes around texts', () => {
  it("is BERT's [CLS] A [SEP] B [SEP], the second segment from the second text on", () => {
    const bert = readSubwordJson(bertJson(['a', 'b']), 'x.json');
    expect(shown(bert, bert.withSpecials(bert.encode('a')))).toBe('[CLS]:0 a:0 [SEP]:0');
    expect(shown(bert, bert.encodePair('a', 'b b'))).toBe('[CLS]:0 a:0 [SEP]:0 b:1 b:1 [SEP]:1');
    expect(shown(bert, bert.encodePair('a [SEP]', 'b', { allowSpecial: true }))).toBe(
      '[CLS]:0 a:0 [SEP]:0 [SEP]:0 b:1 [SEP]:1',
    );
    expect(bert.withSpecials([], []).ids).toHaveLength(3); // what a pair needs beside its texts
  });

  it("is XLNet's A <sep> B <sep> <cls>, with a segment for <cls>", () => {
    const xlnet = readSubwordJson(xlnetJson({ '▁a': -1, '▁b': -1 }), 'x.json');
    expect(shown(xlnet, xlnet.withSpecials(xlnet.encode('a')))).toBe('▁a:0 <sep>:0 <cls>:2');
    expect(shown(xlnet, xlnet.encodePair('a', 'b'))).toBe('▁a:0 <sep>:0 ▁b:1 <sep>:1 <cls>:2');
  });

  it('is nothing without a post-processor', () => {
    const plain = readSubwordJson({ ...bertJson(['a', 'b']), post_processor: null }, 'x.json');
    expect(shown(plain, plain.encodePair('a', 'b'))).toBe('a:0 b:1');
    expect(shown(plain, plain.withSpecials([5]))).toBe('a:0');
  });
});

describe('RoBERTa: byte-level BPE', () => {
  let roberta: Tokenizer;
  let without: Tokenizer;
  beforeAll(async () => {
    const learned = await trainBpe(SAMPLE, { vocabSize: 320, specialTokens: ['<s>', '<pad>', '</s>', '<unk>'] });
    without = learned;
    const json = learned.toJson();
    const mask = { id: 320, content: '<mask>', single_word: false, lstrip: true, rstrip: false };
    roberta = readTokenizerJson(
      {
        ...json,
        added_tokens: [...json.added_tokens, { ...mask, normalized: false, special: true }],
        post_processor: {
          type: 'RobertaProcessing',
          sep: ['</s>', 2],
          cls: ['<s>', 0],
          trim_offsets: true,
          add_prefix_space: false,
        },
        model: { ...json.model, type: undefined }, // as in files from before 2021
      },
      'roberta.json',
    );
  });

  it('has <s> A </s></s> B </s>, all of one segment', () => {
    const [a, b] = ['the report', 'was x'].map((text) => Array.from(roberta.encode(text)));
    expect(Array.from(roberta.encodePair('the report', 'was x').ids)).toEqual([0, ...a!, 2, 2, ...b!, 2]);
    expect(new Set(roberta.encodePair('the report', 'was x').typeIds)).toEqual(new Set([0]));
    expect(Array.from(roberta.withSpecials(a!).ids)).toEqual([0, ...a!, 2]);
    expect(roberta.decode(roberta.withSpecials(a!).ids, { skipSpecial: true })).toBe('the report');
  });

  it('finds roles in the post-processor, and <mask> takes the space before it', () => {
    const { bosId, eosId, padId, unkId, maskId, clsId, sepId } = roberta;
    expect([bosId, eosId, padId, unkId, maskId, clsId, sepId]).toEqual([0, 2, 1, 3, 320, 0, 2]);
    const spelled = Array.from(roberta.encode('a <mask>', { allowSpecial: true }), (id) => roberta.tokenOf(id));
    expect(spelled).toEqual(['a', '<mask>']);
  });

  it('keeps its post-processor when it is written', () => {
    const again = readTokenizerJson(JSON.parse(JSON.stringify(roberta.toJson())), 'again.json');
    expect(again.encodePair('a', 'b')).toEqual(roberta.encodePair('a', 'b'));
    expect(again.clsId).toBe(0);
    expect(Array.from(without.encodePair('a', 'b').ids)).toEqual([...without.encode('a'), ...without.encode('b')]);
  });
});

describe('post-processors in files', () => {
  const of = (json: unknown) => readPostProcessor(json, 10, 'x.json');
  const A = { Sequence: { id: 'A', type_id: 0 } };
  const B = { Sequence: { id: 'B', type_id: 1 } };
  const end = { SpecialToken: { id: '<e>', type_id: 0 } };
  const template = (single: object[], pair: object[], ids: number[] = [7, 8]) => ({
    type: 'TemplateProcessing',
    single,
    pair,
    special_tokens: { '<e>': { id: '<e>', ids, tokens: ['<e>'] } },
  });

  it('may be a sequence in which one step adds tokens, of which a name may stand for several', () => {
    const steps = {
      type: 'Sequence',
      processors: [{ type: 'ByteLevel', trim_offsets: true }, template([A, end], [B, A])],
    };
    expect(of(steps).single).toEqual([
      { sequence: 'A', typeId: 0 },
      { ids: [7, 8], typeId: 0 },
    ]);
    expect(of(steps).pair.map((piece) => ('sequence' in piece ? piece.sequence : ''))).toEqual(['B', 'A']);
  });

  it('that do not fit are refused with the place that is wrong', () => {
    expect(() => of({ type: 'Nope' })).toThrow(refusal(/^x\.json: post_processor has type "Nope"; supported are/));
    expect(() => of({ type: 'BertProcessing', sep: 3, cls: ['a', 1] })).toThrow(refusal(/post_processor\.sep/));
    expect(() => of(template([A, { SpecialToken: { id: '<x>', type_id: 0 } }], [A, B]))).toThrow(
      refusal(/post_processor\.single has the token "<x>", which is not among its special_tokens/),
    );
    expect(() => of(template([end], [A, B]))).toThrow(refusal(/post_processor\.single uses no text, expected A/));
    expect(() => of(template([A], [A, end]))).toThrow(refusal(/post_processor\.pair uses A, expected A and B/));
    expect(() => of(template([A, end], [A, B], [10]))).toThrow(refusal(/adds the id 10, but ids .* are 0 to 9/));
    const bert = { type: 'BertProcessing', sep: ['s', 1], cls: ['c', 2] };
    expect(() => of({ type: 'Sequence', processors: [bert, bert] })).toThrow(
      refusal(/in 2 steps .*; one is supported/),
    );
  });
});
