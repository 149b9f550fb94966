import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Ends, type Splitter } from '../../src/tokenizer/ends.js';
import { translatePattern } from '../../src/tokenizer/pattern.js';
import { PATTERNS } from '../../src/tokenizer/patterns.js';
import { CL100K_PATTERN, LLAMA3_PATTERN, QWEN2_PATTERN } from '../../src/tokenizer/scan/cl100k.js';
import { DEEPSEEK_V3_PATTERNS } from '../../src/tokenizer/scan/deepseek.js';
import { GPT2_PATTERN } from '../../src/tokenizer/scan/gpt2.js';
import { O200K_PATTERN } from '../../src/tokenizer/scan/o200k.js';
import { readPreTokenizer } from '../../src/tokenizer/split.js';
import { inTurn, patternSplitter } from '../../src/tokenizer/stages.js';
import { anyText } from './texts.js';

function pieces(split: Splitter, text: string): string[] {
  const bytes = new TextEncoder().encode(text);
  const ends = new Ends();
  split(bytes, 0, bytes.length, ends);
  const out: string[] = [];
  for (let i = 0, from = 0; i < ends.length; i++) {
    out.push(Buffer.from(bytes.subarray(from, ends.at[i])).toString('utf8'));
    from = ends.at[i]!;
  }
  return out;
}

describe('the scanners cut like the patterns they stand for', () => {
  const generic = (patterns: readonly string[], dialect: 'oniguruma' | 'rust' = 'oniguruma'): Splitter =>
    inTurn(patterns.map((pattern) => patternSplitter(pattern, dialect, 'Isolated')));
  const cases: readonly (readonly [name: keyof typeof PATTERNS, pattern: Splitter])[] = [
    ['gpt2', generic([GPT2_PATTERN])],
    ['cl100k', generic([CL100K_PATTERN], 'rust')],
    ['llama3', generic([LLAMA3_PATTERN])],
    ['qwen2', generic([QWEN2_PATTERN])],
    ['o200k', generic([O200K_PATTERN])],
    ['deepseek-v3', generic(DEEPSEEK_V3_PATTERNS)],
  ];
  it.each(cases)('%s', (name, pattern) => {
    const check = (text: string): void => {
      expect(pieces(PATTERNS[name].split, text)).toEqual(pieces(pattern, text));
    };
    fc.assert(fc.property(anyText, check), { numRuns: 3000 });
  });
});

describe('cuts seen in the reference library', () => {
  it.each([
    ['gpt2', "I've  10\n\n x", ['I', "'ve", ' ', ' 10', '\n\n', ' x']],
    ['llama3', "DON'T 12345 a.b\r\n\r\n  c", ['DON', "'T", ' ', '123', '45', ' a', '.b', '\r\n\r\n', ' ', ' c']],
    ['o200k', "HTTPServer's 中ABC a/\n", ["HTTPServer's", ' 中', 'ABC', ' a', '/\n']],
    ['deepseek-v3', "'reぁ・'", ["'re", 'ぁ', '・', "'"]],
    ['deepseek-v3', '\u0001\u0000x٣٤٥٦(a)!\n', ['\u0001', '\u0000x', '٣٤٥', '٦', '(a', ')!\n']],
  ] as const)('%s: %j', (name, text, expected) => {
    expect(pieces(PATTERNS[name].split, text)).toEqual(expected);
  });
});

describe('tokenizer.json pre-tokenizers', () => {
  const read = (...steps: unknown[]): Splitter =>
    readPreTokenizer(
      { type: 'Sequence', pretokenizers: [...steps, { type: 'ByteLevel', add_prefix_space: false, use_regex: false }] },
      'test.json',
    ).split;
  const split = (Regex: string, behavior = 'Isolated') => ({
    type: 'Split',
    pattern: { Regex },
    behavior,
    invert: false,
  });

  it('applies the steps of DeepSeek-V2 in turn', () => {
    const steps = [split('[\r\n]'), split('\\s?[A-Za-z]+'), split('\\s?[!-/:-~]+'), split('\\s+$'), split('[一-龥]+')];
    const got = pieces(read(...steps, { type: 'Digits', individual_digits: true }), 'ab  cd!? 中12 \n ');
    expect(got).toEqual(['ab', ' ', ' cd', '!?', ' ', '中', '1', '2', ' ', '\n', ' ']);
  });

  it.each([
    ['MergedWithPrevious', ['a1', '2', 'b3', 'c']],
    ['MergedWithNext', ['a', '1', '2b', '3c']],
    ['Contiguous', ['a', '12', 'b', '3', 'c']],
    ['Isolated', ['a', '1', '2', 'b', '3', 'c']],
  ])('%s', (behavior, expected) => {
    expect(pieces(read(split('\\p{N}', behavior)), 'a12b3c')).toEqual(expected);
    const literal = { type: 'Split', pattern: { String: '.' }, behavior, invert: false };
    expect(pieces(read(literal), 'a..b.c')).toEqual(expected.map((piece) => piece.replace(/\d/g, '.')));
  });

  it.each([
    [{ type: 'Metaspace' }, /step 1 has type "Metaspace"/],
    [split('a', 'Removed'), /behavior/],
    [split('(?<name>a)'), /not supported: the group at 0/],
    [split('(?x)a'), /the flags/],
    [split('[[:alpha:]]'), /POSIX/],
    [split('\\p{Nonsense}'), /"Nonsense" is not known/],
    [split('a)'), /closes nothing/],
    [split('(a'), /not closed/],
    [split('[a'), /not closed/],
    [split('\\1'), /escape/],
    [split('*a'), /nothing to repeat/],
  ])('refuses %j', (step, sentence) => {
    expect(() => read(step)).toThrow(
      expect.objectContaining({ code: 'bad-data', message: expect.stringMatching(sentence) }),
    );
  });

  it('refuses a file that is not byte-level', () => {
    expect(() => readPreTokenizer(split('a'), 'x.json')).toThrow(/one ByteLevel step, the last/);
    expect(() => readPreTokenizer(null, 'x.json')).toThrow(/ends with null/);
  });
});

describe('translated patterns', () => {
  const all = (pattern: string, text: string, dialect: 'oniguruma' | 'rust' = 'oniguruma'): string[] =>
    text.match(translatePattern(pattern, dialect)) ?? [];

  it('knows white space as Unicode does, not as JavaScript does', () => {
    expect(all('\\s', '\u0085\ufeff \u3000')).toEqual(['\u0085', ' ', '\u3000']);
    expect(all('[^\\s]', '\u0085\ufeff')).toEqual(['\ufeff']);
  });

  it('expands (?i), the long s included, only where it holds', () => {
    expect(all("(?i:'s|x)s", "'Ss 'ſs XS xs")).toEqual(["'Ss", "'ſs", 'xs']);
    expect(all('(?i)[a-c]z', 'BZ bz')).toEqual(['BZ', 'bz']);
    expect(all('(?:(?i)a)b', 'Ab AB')).toEqual(['Ab']);
  });

  it('never gives back what a possessive or atomic part took', () => {
    expect(all('a++ab', 'aaab')).toEqual([]);
    expect(all('a+ab', 'aaab')).toEqual(['aaab']);
    expect(all('(?>a+)b|a', 'aab')).toEqual(['aab']);
    expect(all('a{1,2}+a', 'aaa', 'rust')).toEqual(['aaa']);
    expect(all('a{1,2}+a', 'aa', 'rust')).toEqual([]);
    expect(all('a{1,2}+a', 'aa', 'oniguruma')).toEqual(['aa']);
  });

  it('ends lines in Oniguruma and texts in Rust', () => {
    expect(all('a$', 'a\na')).toEqual(['a', 'a']);
    expect(all('a$', 'a\na', 'rust')).toEqual(['a']);
  });

  it('intersects classes', () => {
    expect(all('[\\p{L}\\p{N}&&[^\\p{Han}]]+', 'ab中1')).toEqual(['ab', '1']);
  });
});
