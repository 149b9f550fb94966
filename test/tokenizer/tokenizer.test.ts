import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { PATTERNS, type PatternName, type Tokenizer, trainBpe } from '../../src/tokenizer/index.js';
import { anyText, SAMPLE, wellFormed } from './texts.js';

const SPECIAL = ['<｜begin▁of▁sentence｜>', '<｜end▁of▁sentence｜>', '<｜▁pad▁｜>', '<think>', '<think>!'];
let tokenizer: Tokenizer;

beforeAll(async () => {
  tokenizer = await trainBpe(SAMPLE, { vocabSize: 400, specialTokens: SPECIAL, minFrequency: 1 });
});

describe('decode undoes encode', () => {
  it.each(Object.keys(PATTERNS) as PatternName[])('for any text, cut as %s', async (pattern) => {
    const own = await trainBpe(SAMPLE, { vocabSize: 400, pattern, minFrequency: 1 });
    const back = (text: string): void => {
      expect(own.decode(own.encode(text))).toBe(wellFormed(text));
    };
    fc.assert(fc.property(anyText, back), { numRuns: 1000 });
  });

  it('for every code point', () => {
    for (let from = 0; from < 0x110000; from += 512) {
      const codes = Array.from({ length: 512 }, (_, i) => from + i);
      const text = String.fromCodePoint(...codes);
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(wellFormed(text));
    }
  });

  it('keeps a byte order mark and NUL, and makes lone surrogates U+FFFD', () => {
    for (const text of ['\ufeffa', 'a\ufeff', '\u0000', ''])
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    expect(tokenizer.encode('a\ud800b')).toEqual(tokenizer.encode('a\ufffdb'));
  });

  it('for texts longer than the shared buffer, whose pieces are longer than any other', () => {
    for (const unit of ['a', '中 1']) {
      const text = unit.repeat((1 << 20) + 7);
      expect(tokenizer.decode(tokenizer.encode(text)) === text).toBe(true);
    }
  });

  it('gives the same ids whatever was encoded before', () => {
    const texts = fc.array(anyText, { maxLength: 5 });
    const alone = (list: string[]): void => {
      const together = tokenizer.encodeBatch(list);
      for (const [i, text] of list.entries()) expect(tokenizer.encode(text)).toEqual(together[i]);
    };
    fc.assert(fc.property(texts, alone), { numRuns: 200 });
  });
});

describe('special tokens', () => {
  const text = 'a<think>!<think>b<｜end▁of▁sentence｜>';
  const id = (content: string): number => tokenizer.idOf(content)!;

  it('are text unless asked for', () => {
    const ids = tokenizer.encode(text);
    expect(Math.min(...ids)).toBeGreaterThanOrEqual(SPECIAL.length);
    expect(tokenizer.decode(ids)).toBe(text);
  });

  it('are matched when allowed, the longest first', () => {
    const [a, b] = [tokenizer.encode('a')[0]!, tokenizer.encode('b')[0]!];
    const expected = [a, id('<think>!'), id('<think>'), b, id('<｜end▁of▁sentence｜>')];
    expect(Array.from(tokenizer.encode(text, { allowSpecial: true }))).toEqual(expected);
    expect(Array.from(tokenizer.encode(text, { allowSpecial: 'all' }))).toEqual(expected);
  });

  it('are matched by name when a set is given', () => {
    const ids = Array.from(tokenizer.encode(text, { allowSpecial: new Set(['<think>']) }));
    expect(ids.filter((each) => each < SPECIAL.length)).toEqual([id('<think>'), id('<think>')]);
    expect(tokenizer.decode(ids)).toBe(text);
  });

  it('have roles by their names, and can be left out of the text', () => {
    expect([tokenizer.bosId, tokenizer.eosId, tokenizer.padId]).toEqual([0, 1, 2]);
    const ids = [0, ...tokenizer.encode('hello'), 1, 2];
    expect(tokenizer.decode(ids, { skipSpecial: true })).toBe('hello');
    expect(tokenizer.decode(ids)).toBe(`${SPECIAL[0]}hello${SPECIAL[1]}${SPECIAL[2]}`);
  });
});

describe('streaming', () => {
  it('gives what decode gives, never half a character', () => {
    const streamed = (text: string): void => {
      const stream = tokenizer.stream();
      const parts = Array.from(tokenizer.encode(text), (each) => stream.push(each));
      const replaced = /\ufffd/.test(wellFormed(text));
      if (!replaced) expect(parts.join('')).not.toMatch(/\ufffd/);
      expect(parts.join('') + stream.end()).toBe(wellFormed(text));
    };
    fc.assert(fc.property(anyText, streamed), { numRuns: 500 });
  });

  it('holds the bytes of an emoji back until all are there, and says so when they never come', () => {
    const ids = [0xf0, 0x9f, 0x98, 0x80].map((byte) => byteId(byte));
    const stream = tokenizer.stream();
    expect(ids.map((each) => stream.push(each))).toEqual(['', '', '', '😀']);
    expect(stream.push(ids[0]!) + stream.push(ids[1]!)).toBe('');
    expect(stream.end()).toBe('\ufffd');
    expect(ids.map((each) => stream.push(each)).join('')).toBe('😀');
  });

  it('skips ids that are no token when asked, and else names them', () => {
    const beyond = tokenizer.vocabSize + 3;
    const stream = tokenizer.stream({ skipUnknown: true });
    expect(stream.push(beyond) + stream.push(byteId(0x61)) + stream.end()).toBe('a');
    expect(tokenizer.decode([beyond, byteId(0x61), beyond], { skipUnknown: true })).toBe('a');
    expect(() => tokenizer.decode([beyond])).toThrow(`Id ${beyond} is no token`);
  });

  it('skips special tokens when asked', () => {
    const stream = tokenizer.stream({ skipSpecial: true });
    expect(stream.push(0) + stream.push(byteId(0x61)) + stream.end()).toBe('a');
  });

  function byteId(byte: number): number {
    for (let each = 0; each < tokenizer.vocabSize; each++) {
      const bytes = tokenizer.bytesOf(each);
      if (bytes.length === 1 && bytes[0] === byte) return each;
    }
    throw new Error(`no token for byte ${byte}`);
  }
});

describe('the vocabulary', () => {
  it('is spelled as in tokenizer.json', () => {
    for (let each = 0; each < tokenizer.vocabSize; each++) expect(tokenizer.idOf(tokenizer.tokenOf(each))).toBe(each);
    expect(tokenizer.tokenOf(tokenizer.encode(' ')[0]!)).toBe('Ġ');
    expect(tokenizer.idOf('not a token')).toBeUndefined();
  });

  it.each([-1, 1.5, 400, Number.NaN])('has no id %d', (each) => {
    const refused = expect.objectContaining({
      code: 'bad-argument',
      message: expect.stringContaining('ids of this vocabulary are 0 to 399'),
    });
    expect(() => tokenizer.decode([each])).toThrow(refused);
    expect(() => tokenizer.stream().push(each)).toThrow(refused);
  });

  it('sums the bytes of its tokens to the bytes of the text', () => {
    const text = SAMPLE.join('');
    const bytes = tokenizer.encode(text).reduce((sum, each) => sum + tokenizer.byteLength(each), 0);
    expect(bytes).toBe(Buffer.byteLength(text));
  });
});
