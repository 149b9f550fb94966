import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { finalAnswer, lastBoxed, parseFinalAnswer, sameAnswer } from '../../../src/rl/rewards/math/index.js';

const SIZE = 1_000_000;

describe('hostile answers are refused or answered without growing', () => {
  const bombs: Record<string, string> = {
    braces: '{'.repeat(4000),
    'closed braces': `${'{'.repeat(2000)}1${'}'.repeat(2000)}`,
    parentheses: `${'('.repeat(2000)}1${')'.repeat(2000)}`,
    'square brackets': '['.repeat(4000),
    'nested roots': `${'\\sqrt{'.repeat(500)}2${'}'.repeat(500)}`,
    'nested fractions': `${'\\frac{1}{1+'.repeat(300)}1${'}'.repeat(300)}`,
    minus: `${'-'.repeat(4000)}1`,
    'a tower of powers': Array.from({ length: 1000 }, () => '9').join('^'),
    'a huge exponent': '9^{9999999999999999999999}',
    'a huge negative exponent': '9^{-9999999999999999999999}',
    'a huge decimal exponent': '1e9999',
    'a huge factorial': '(10^9)!',
    'factorials of factorials': `3${'!'.repeat(1000)}`,
    'a huge binomial': '\\binom{10^{30}}{10^{29}}',
    digits: '9'.repeat(4000),
    'long products': Array.from({ length: 400 }, () => '(x+1)').join(''),
    'long sums': Array.from({ length: 1500 }, () => 'x').join('+'),
    'wide sets': `\\{${Array.from({ length: 1500 }, (_, i) => i % 10).join(',')}\\}`,
    bars: '|'.repeat(4000),
    dollars: '$'.repeat(4000),
    backslashes: '\\'.repeat(4000),
    'spaces before a stop': `1${' '.repeat(4000)}.x`,
    'text commands': '\\text{'.repeat(500),
    'a long number with commas': Array.from({ length: 1000 }, () => '000').join(','),
  };
  test.each(Object.entries(bombs))('%s', (_name, bomb) => {
    const parsed = parseFinalAnswer(bomb);
    expect(typeof parsed).toBe('object');
    expect(sameAnswer('12345', bomb)).toBe(false);
    expect([true, false, undefined]).toContain(sameAnswer(bomb, bomb));
  });

  test('longer texts than any answer are refused with the limit', () => {
    expect(parseFinalAnswer('1'.repeat(SIZE))).toEqual({ unreadable: expect.stringContaining('4096 characters') });
  });

  test.each([
    '\\boxed{',
    '\\boxed{}',
    '{',
    '}',
    '\\boxed',
    '<answer>',
    '</answer>',
    'answer is ',
    '####',
    ' ',
    '.',
    '\\fbox{\\boxed{',
  ])('a megabyte of %j is searched for an answer', (piece) => {
    const text = piece.repeat(SIZE / piece.length);
    const answer = finalAnswer(text);
    expect(answer === undefined || answer.length <= SIZE).toBe(true);
    expect(finalAnswer(`${text}\n\\boxed{7}`)).toBe('7');
  });
});

describe('the last box', () => {
  test.each([
    ['\\boxed{3}', '3'],
    ['so \\boxed{1} and \\boxed{2}.', '2'],
    ['\\boxed{\\frac{1}{2}}', '\\frac{1}{2}'],
    ['\\boxed{\\{1,2\\}}', '\\{1,2\\}'],
    ['\\fbox{9}', '9'],
    ['\\boxed 5 cm', '5'],
    ['\\boxed{5', undefined],
    ['\\boxed{4} then \\boxed{5', '4'],
    ['none', undefined],
    ['\\boxed{\\boxed{6}}', '6'],
  ])('%s', (text, box) => {
    expect(lastBoxed(text)).toBe(box);
  });
});

describe('the final answer of a completion', () => {
  test.each([
    ['<think>\\boxed{1}</think><answer>\\boxed{2}</answer>', '2'],
    ['<think>maybe 3</think><answer> 4 </answer>', '4'],
    ['thinking </think> The answer is 12.', '12'],
    ['2+2=4\n#### 4', '4'],
    ['The answer is $\\frac12$. I am sure.', '$\\frac12$'],
    ['Answer: (B)', '(B)'],
    ['**Answer:** 7', '7'],
    ['42', '42'],
    ['one line\nand another', undefined],
    ['', undefined],
  ])('%j', (text, answer) => {
    expect(finalAnswer(text)).toBe(answer);
  });

  test('may be taken from the box only', () => {
    expect(finalAnswer('The answer is 5', 'boxed')).toBeUndefined();
  });
});

describe('properties', () => {
  const latex = fc
    .array(
      fc.constantFrom(
        ...'0 1 2 x y + - * / ^ _ ( ) [ ] { } , | ! % . = < \\frac \\sqrt \\pi \\{ \\} \\pm \\cup \\sin \\text{a} \\infty i e'.split(
          ' ',
        ),
      ),
      { maxLength: 25 },
    )
    .map((pieces) => pieces.join(' '));

  test('any text is read or refused, never an exception, and equality is symmetric', () => {
    fc.assert(
      fc.property(latex, latex, (a, b) => {
        if (sameAnswer(a, a) === undefined || sameAnswer(b, b) === undefined) return;
        expect(sameAnswer(a, b)).toBe(sameAnswer(b, a));
      }),
      { numRuns: 1000 },
    );
  });

  test('a fraction equals itself in every writing', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -9999, max: 9999 }),
        fc.integer({ min: 1, max: 999 }),
        fc.integer({ min: 2, max: 9 }),
        (n, d, k) => {
          const gold = `\\frac{${n}}{${d}}`;
          expect(sameAnswer(gold, `${n * k}/${d * k}`)).toBe(true);
          expect(sameAnswer(gold, `${-n} \\div (${-d})`)).toBe(true);
          expect(sameAnswer(gold, `\\frac{${n + 1}}{${d}}`)).toBe(false);
        },
      ),
    );
  });

  test('a product of linear factors equals its expansion and no other', () => {
    const coefficient = fc.integer({ min: -20, max: 20 });
    fc.assert(
      fc.property(coefficient, coefficient, (a, b) => {
        const product = `(x+${a})(x+${b})`.replaceAll('+-', '-');
        const expanded = (c: number) => `x^2+${a + b}x+${c}`.replaceAll('+-', '-');
        expect(sameAnswer(product, expanded(a * b))).toBe(true);
        expect(sameAnswer(product, expanded(a * b + 1))).toBe(false);
      }),
    );
  });
});
