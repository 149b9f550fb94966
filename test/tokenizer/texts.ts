import fc from 'fast-check';

/** Characters and stretches on which pre-tokenizers disagree. */
const TRICKY = [
  ..." \n\r\t'/\u000b\u0085\ufeff\u2028\u3000\u00a0\u0301\u0302ſsStTdDmMlLrRvVeE\u212aaAbB09¼١一ぁ・゠\u3040한ʰǅ!.$<>_\u0000\u0001😀",
  "'s",
  "'S",
  "'ſ",
  "'ll",
  "'LL",
  "'re",
  "'VE",
  "'d",
  '  ',
  '\r\n',
  '\n\n',
  ' \n ',
  '   ',
  'abc',
  'Abc',
  'ABC',
  '123',
  '12345',
  '...',
];

/** Text made of tricky stretches and of any characters, lone surrogates included. */
export const anyText: fc.Arbitrary<string> = fc
  .array(fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...TRICKY) }, fc.string({ unit: 'binary', maxLength: 3 })), {
    maxLength: 20,
  })
  .map((parts) => parts.join(''));

/** The text with U+FFFD for every lone surrogate: what UTF-8 can hold of it. */
export function wellFormed(text: string): string {
  return Buffer.from(text, 'utf8').toString('utf8');
}

/** A few lines in several languages, enough to learn merges from. */
export const SAMPLE = [
  'The committee reported that the report was reported to the committee.\n',
  "It's what they've said: we'll see whether they're right, won't we?\n",
  'def f(x):\n    return [x for x in range(10) if x % 2 == 0]\n\n',
  'Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.\r\n',
  '日本語のテキスト、中文文本，한국어 텍스트 😀😀 1234567 ½ ١٢٣\n',
  'aaaaaaaaaaaa bbbbbbbb    \t\t ------ ======\n',
];
