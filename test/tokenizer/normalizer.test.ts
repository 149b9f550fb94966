import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Ends } from '../../src/tokenizer/ends.js';
import { readNormalizer } from '../../src/tokenizer/subword/normalizer.js';
import { readWordSplitter } from '../../src/tokenizer/subword/pre_tokenizer.js';
import { charsmapOf } from './subword_files.js';
import { anyText, wellFormed } from './texts.js';

const refusal = (sentence: RegExp) =>
  expect.objectContaining({ name: 'TrainMoeError', code: 'bad-data', message: expect.stringMatching(sentence) });
const normalized = (text: string, ...normalizers: object[]): string =>
  readNormalizer({ type: 'Sequence', normalizers }, 'x.json')(text);

describe('normalizers', () => {
  it('are applied in turn', () => {
    expect(normalized('ﬁ É', { type: 'NFKD' }, { type: 'StripAccents' }, { type: 'Lowercase' })).toBe('fi e');
    expect(normalized('e\u0301', { type: 'NFC' })).toBe('é');
    expect(readNormalizer(null, 'x.json')(' a ')).toBe(' a ');
  });

  it('strip all marks, lowercase without a final sigma, and trim white space as Unicode has it', () => {
    expect(normalized('नमस्ते a\u20dd', { type: 'StripAccents' })).toBe('नमसत a');
    expect(normalized('ΟΔΟΣ İ ẞ', { type: 'Lowercase' })).toBe('οδοσ i\u0307 ß');
    const strip = (left: boolean, right: boolean) => ({ type: 'Strip', strip_left: left, strip_right: right });
    expect(normalized('\u0085 a\ufeff\u3000', strip(true, true))).toBe('a\ufeff');
    expect(normalized(' a ', strip(false, true))).toBe(' a');
    expect(normalized(' a ', strip(true, false))).toBe('a ');
    expect(normalized('   ', strip(false, true))).toBe('');
  });

  it('replace a text or a pattern, with a content that means only itself', () => {
    expect(normalized("``a''", { type: 'Replace', pattern: { String: '``' }, content: '$&"' })).toBe("$&\"a''");
    expect(normalized('a   b  c d', { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' })).toBe('a b c d');
  });

  it('that are not known are named', () => {
    expect(() => normalized('', { type: 'Nmt' })).toThrow(
      refusal(/^x\.json: normalizer has type "Nmt"; supported are/),
    );
    expect(() => normalized('', { type: 'Replace', pattern: {}, content: '' })).toThrow(refusal(/normalizer\.pattern/));
    expect(() => normalized('', { type: 'Replace', pattern: { Regex: '(' }, content: '' })).toThrow(
      refusal(/pattern "\(" is not supported/),
    );
    expect(() => normalized('', { type: 'Strip' })).toThrow(refusal(/normalizer\.strip_left/));
  });
});

describe('a precompiled table', () => {
  const replacements: Readonly<Record<string, string>> = {
    'e\u0301': 'é',
    ﬁ: 'fi',
    '\u00a0': ' ',
    '\u200b': '',
    a: 'A',
    ab: 'never: a is shorter',
    '😀': ':)',
    'x\u0301': 'y',
    '\r': ' ',
    '\u0302': '^',
  };
  const table = readNormalizer({ type: 'Precompiled', precompiled_charsmap: charsmapOf(replacements) }, 'x.json');

  it('replaces a cluster of under 6 bytes by the value of its shortest prefix', () => {
    expect(table('e\u0301\u0302 ﬁ\u00a0\u200b.ab😀x\u0301x a\u0301b')).toBe('é fi .Ab:)yx Ab');
    expect(table('\r\n.\r.\n')).toBe(' . .\n');
  });

  it('replaces longer ones character by character', () => {
    expect(table('e\u0301\u0302\u0303')).toBe('e\u0301^\u0303');
    expect(table('中\u0301\u0302a')).toBe('中\u0301^A');
  });

  it('gives what cutting all of the text into clusters gives', () => {
    const tricky = fc.constantFrom(...Object.keys(replacements), ...'eax\u0301\u0302\u0303\u200d\n\u1100\u1161🇫', 'ä');
    const text = fc
      .array(fc.oneof({ weight: 4, arbitrary: tricky }, anyText), { maxLength: 8 })
      .map((all) => all.join(''));
    fc.assert(
      fc.property(text, (given) => {
        const whole = wellFormed(given);
        expect(table(whole)).toBe(byClusters(replacements, whole));
      }),
      { numRuns: 2000 },
    );
  });

  it('gives the same for clusters and stretches longer than the segmenter gets at once', () => {
    for (let marks = 245; marks < 265; marks++) {
      const text = `a${'\u0301'.repeat(marks)}a\u{e0100}e\u0301`;
      expect(table(text)).toBe(byClusters(replacements, text));
    }
    const long = 'x\u0301a\u{e0100}'.repeat(500);
    expect(table(long)).toBe('yA'.repeat(500));
  });

  it('that is damaged is refused when it is read or met', () => {
    const good = charsmapOf({ ab: 'c' });
    const of = (base64: string) => readNormalizer({ type: 'Precompiled', precompiled_charsmap: base64 }, 'x.json');
    expect(() => of('')).toThrow(refusal(/^x\.json: precompiled_charsmap is damaged/));
    expect(() => of(good.slice(0, 40))).toThrow(refusal(/damaged/));
    const cut = Buffer.from(good, 'base64');
    cut.writeUInt32LE(8, 0); // a double array of two units
    expect(() => of(cut.toString('base64'))('a')).toThrow(refusal(/damaged/));
  });
});

/** The rule, without a search for the places where it matters. */
function byClusters(replacements: Readonly<Record<string, string>>, text: string): string {
  const valueFor = (chunk: string): string | undefined => {
    const characters = [...chunk];
    const prefixes = characters.map((_, i) => characters.slice(0, i + 1).join(''));
    const found = prefixes.find((prefix) => replacements[prefix] !== undefined);
    return found === undefined ? undefined : replacements[found];
  };
  const clusters = [...new Intl.Segmenter('en', { granularity: 'grapheme' }).segment(text)];
  const replaced = clusters.map(({ segment }) => {
    const whole = Buffer.byteLength(segment) < 6 ? valueFor(segment) : undefined;
    return whole ?? [...segment].map((character) => valueFor(character) ?? character).join('');
  });
  return replaced.join('');
}

describe('pre-tokenizers', () => {
  const metaspace = { type: 'Metaspace', replacement: '▁' };
  const both = { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, metaspace] };
  const wordsOf = (json: object | null, text: string): string[] => {
    const { rewrite, split, dropsSpace } = readWordSplitter(json, 'x.json');
    const bytes = Buffer.from(rewrite(text));
    const ends = new Ends();
    split(bytes, 0, bytes.length, ends);
    const words = Array.from(ends.at.slice(0, ends.length), (end, i) =>
      bytes.subarray(i === 0 ? 0 : ends.at[i - 1]!, end).toString('utf8'),
    );
    expect(words.join('')).toBe(bytes.toString('utf8'));
    return dropsSpace ? words.filter((word) => !/^\p{White_Space}/u.test(word)) : words;
  };

  it('mark words by the space before them', () => {
    expect(wordsOf(metaspace, 'a  b\nc')).toEqual(['▁a', '▁', '▁b\nc']);
    expect(wordsOf({ ...metaspace, prepend_scheme: 'never' }, 'a b')).toEqual(['a', '▁b']);
    expect(wordsOf({ ...metaspace, add_prefix_space: false }, 'a b')).toEqual(['a', '▁b']);
    expect(wordsOf({ ...metaspace, split: false }, ' a b')).toEqual(['▁a▁b']);
    expect(wordsOf(null, ' a b')).toEqual([' a b']);
    expect(wordsOf({ type: 'WhitespaceSplit' }, ' a\u0085b\ufeff ')).toEqual(['a', 'b\ufeff']);
    expect(wordsOf({ type: 'BertPreTokenizer' }, " don't^a ¿")).toEqual(['don', "'", 't', '^', 'a', '¿']);
  });

  it('mark the words between white space as one step after the other does', () => {
    const stepwise = (text: string): string[] =>
      (text.match(/\P{White_Space}+/gu) ?? []).flatMap(
        (word) => (word.startsWith('▁') ? word : `▁${word}`).match(/▁[^▁]*/gu) ?? [],
      );
    const texts = fc.array(fc.oneof(anyText, fc.constantFrom('▁', ' ', '\n', '𐐨', 'a')), { maxLength: 8 });
    fc.assert(
      fc.property(texts, (parts) => {
        const text = wellFormed(parts.join(''));
        expect(wordsOf(both, text)).toEqual(stepwise(text));
      }),
      { numRuns: 1000 },
    );
  });

  it('that are not known are named', () => {
    const of = (json: object) => () => readWordSplitter(json, 'x.json');
    expect(of({ type: 'Whitespace' })).toThrow(refusal(/^x\.json: pre_tokenizer has the steps \["Whitespace"\]; supp/));
    expect(of({ type: 'Sequence', pretokenizers: [metaspace, { type: 'WhitespaceSplit' }] })).toThrow(
      refusal(/steps \["Metaspace","WhitespaceSplit"\]/),
    );
    expect(of({ type: 'Metaspace', replacement: 'ab' })).toThrow(refusal(/replacement .*expected one character/));
    expect(of({ ...metaspace, prepend_scheme: 'first' })).toThrow(refusal(/pre_tokenizer\.prepend_scheme/));
    expect(of({ ...metaspace, prepend_scheme: 'always', add_prefix_space: false })).toThrow(refusal(/is false, but/));
  });
});
