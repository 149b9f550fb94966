import { describe, expect, test } from 'vitest';
import { lastNumber } from '../../../src/rl/rewards/builtin/answers.js';
import { codeOf, programOf } from '../../../src/rl/rewards/builtin/code.js';
import { evaluateExpression } from '../../../src/rl/rewards/builtin/countdown.js';
import {
  combine,
  countdown,
  exact,
  format,
  formatFault,
  language,
  length,
  math,
  number,
  type Reward,
  regex,
  type Sample,
} from '../../../src/rl/rewards/index.js';

const score = (reward: Reward, completion: string, rest: Partial<Sample> = {}) =>
  reward.score({ prompt: '', completion, ...rest }) as {
    value?: number;
    reason?: string;
    log?: Record<string, unknown>;
  };

describe('format', () => {
  test.each([
    ['<think>a</think><answer>b</answer>', undefined],
    ['  <think>a\nb</think>\n\n<answer>\nb</answer>\n', undefined],
    ['<think>a</think>', '<answer> is missing'],
    ['a</think><answer>b</answer>', '<think> is missing'],
    ['<think>a</think><answer>b', '</answer> is missing'],
    ['<think>a<think>a</think><answer>b</answer>', '<think> stands more than once'],
    ['<think>a</think><answer>b</answer><answer>c</answer>', '<answer> stands more than once'],
    ['<answer>b</answer><think>a</think>', '<answer> stands before </think>'],
    ['</think>a<think><answer>b</answer>', '</think> stands before <think>'],
    ['hello <think>a</think><answer>b</answer>', 'text stands outside the tags'],
    ['<think>a</think> so <answer>b</answer>', 'text stands outside the tags'],
    ['<think>a</think><answer>b</answer> bye', 'text stands outside the tags'],
    ['<think> </think><answer>b</answer>', 'a tag is empty'],
    ['<think>a</think><answer></answer>', 'a tag is empty'],
    ['', '<think> is missing'],
  ])('%j: %s', (completion, fault) => {
    expect(formatFault(completion)).toBe(fault);
    expect(score(format(), completion).value).toBe(fault === undefined ? 1 : 0);
  });

  test('starts inside <think> where the prompt opened it', () => {
    expect(score(format({ opened: true }), 'a</think><answer>b</answer>').value).toBe(1);
    expect(score(format({ opened: true }), '<think>a</think><answer>b</answer>').value).toBe(0);
  });
});

describe('exact and regex', () => {
  test('compare the answer part without regard to white space', () => {
    expect(score(exact(), '<think>x</think><answer> a  b </answer>', { answer: 'a b' }).value).toBe(1);
    expect(score(exact(), 'A b', { answer: 'a b' }).value).toBe(0);
    expect(score(exact({ ignoreCase: true }), 'A b', { answer: 'a b' }).value).toBe(1);
    expect(score(exact(), 'a').reason).toBe('the problem has no reference answer');
    expect(exact().check!({ prompt: '', answer: ' ' })).toBe('the problem has no reference answer');
  });

  test('keep no state between samples', () => {
    const reward = regex({ pattern: 'a', flags: 'gi' });
    expect([score(reward, 'xA').value, score(reward, 'xA').value, score(reward, 'x').value]).toEqual([1, 1, 0]);
    expect(() => regex({} as { pattern: string })).toThrow(/needs a pattern/);
  });
});

describe('number', () => {
  test.each([
    ['so 5 apples and 3 pears make 8.', '8'],
    ['$1,250.50 in all', '1250.50'],
    ['-7', '-7'],
    ['x - 7', '7'],
    ['3-4', '4'],
    ['= -4', '-4'],
    ['so it is -96', '-96'],
    ['(x) - 7', '7'],
    ['it is - 7', '-7'],
    ['3/4 of it', '3/4'],
    ['−12 °C', '-12'],
    ['1,2,3', '3'],
    ['none', undefined],
    ['', undefined],
  ])('the last number of %j is %s', (text, found) => {
    expect(lastNumber(text)).toBe(found);
  });

  test.each([
    ['<think>1</think><answer>18</answer>', 'work\n#### 18', 1],
    ['She makes \\boxed{18} dollars in 3 days.', '#### 18', 1],
    ['9 * 2 = 18\n#### 18\nThat took 5 steps', '#### 18', 1],
    ['70,000', '70000', 1],
    ['18.0', '18', 1],
    ['19', '18', 0],
    ['no idea', '18', 0],
  ])('%j for %j scores %d', (completion, answer, expected) => {
    expect(score(number(), completion, { answer }).value).toBe(expected);
  });

  test('a reference without a number is a fault of the data', () => {
    expect(number().check!({ prompt: '', answer: 'many' })).toBe('the reference answer holds no number');
    expect(score(number(), '5', { answer: 'many' }).reason).toBe('the reference answer holds no number');
  });
});

describe('math', () => {
  test('an unreadable reference skips, an unreadable completion is wrong', () => {
    const reward = math();
    expect(reward.check!({ prompt: '', answer: '\\frac{1}' })).toMatch(/cannot be read/);
    expect(score(reward, '\\boxed{1}', { answer: '\\frac{1}' }).reason).toMatch(/cannot be read/);
    expect(score(reward, '\\boxed{\\frac{1}}', { answer: '1' }).value).toBe(0);
    expect(score(reward, 'I\ndo not\nknow', { answer: '1' })).toEqual({
      value: 0,
      log: { fault: 'there is no final answer' },
    });
    expect(score(reward, '\\boxed{0.5}', { answer: 'So it is \\boxed{\\frac12}.' }).value).toBe(1);
  });

  test('may insist on a box', () => {
    expect(score(math({ place: 'boxed' }), 'The answer is 5', { answer: '5' }).value).toBe(0);
    expect(score(math({ place: 'boxed' }), '\\boxed{5}', { answer: '5' }).value).toBe(1);
    expect(() => math({ place: 'end' as 'any' })).toThrow(/must be "any" or "boxed"/);
  });
});

describe('length', () => {
  const reward = length({ max: 100, soft: 20 });
  test.each([
    [0, 0],
    [80, 0],
    [90, -0.5],
    [100, -1],
    [1000, -1],
  ])('%d tokens give %d', (tokens, expected) => {
    expect(score(reward, '', { meta: { tokens } }).value).toBeCloseTo(expected, 12);
  });
  test('skips a sample without a count, and counts characters when asked', () => {
    expect(score(reward, 'abc').reason).toMatch(/meta\.tokens/);
    expect(score(length({ max: 4, soft: 4, unit: 'characters' }), 'ab').value).toBe(-0.5);
    expect(() => length({ max: 0 })).toThrow(/0 < soft <= max/);
  });
});

describe('language', () => {
  test.each([
    ['en', 'All words are English', 1],
    ['en', 'Half 的', 0.5],
    ['en', 'let x = $\\alpha$ be', 1],
    ['en', '', 1],
    ['en', '12 + 34 = 46', 1],
    ['zh', '我们 think', 2 / 3],
    ['ru', 'привет мир hello', 2 / 3],
    ['ja', 'これは 犬', 1],
    ['en', 'naïve café', 1],
  ])('%s: %j has a share of %d', (target, completion, share) => {
    expect(score(language({ language: target }), completion).value).toBeCloseTo(share, 12);
  });
  test('refuses a language it does not know', () => {
    expect(() => language({ language: 'xx' })).toThrow(/does not know "xx"/);
  });
});

describe('countdown', () => {
  const meta = { numbers: [3, 7, 25], target: 46 };
  test.each([
    ['<think>..</think><answer>25 + 3 * 7</answer>', 1],
    ['\\boxed{25+3\\times7}', 1],
    ['25 + 7*3 = 46', 1],
    ['(25 + 7) * 3', 0],
    ['25 + 21', 0],
    ['25 + 3*7 + 0', 0],
    ['25 + 3 + 3*7 - 3', 0],
    ['46', 0],
    ['25 + 3 * ', 0],
    ['process.exit()', 0],
    ['', 0],
  ])('%j scores %d', (completion, expected) => {
    expect(score(countdown(), completion, { meta }).value).toBe(expected);
  });
  test.each([
    ['8/(3-8/3)', 24n, 1n],
    ['1/3', 1n, 3n],
    ['2-3-4', -5n, 1n],
    ['8/4/2', 1n, 1n],
  ])('%s is %d/%d', (text, n, d) => {
    expect(evaluateExpression(text)).toMatchObject({ value: { n, d } });
  });
  test.each([
    ['1/0', /divides by zero/],
    ['('.repeat(400), /nested too deeply/],
    ['1'.repeat(600), /too long/],
    ['2**3', /stands where a number should/],
    ['(1', /not closed/],
    ['1)', /left over/],
  ])('%s is refused', (text, reason) => {
    expect(evaluateExpression(text)).toMatch(reason);
  });
  test('gives a part for the right numbers, and skips without a puzzle', () => {
    expect(score(countdown({ partial: 0.1 }), '25+3-7', { meta }).value).toBe(0.1);
    expect(score(countdown(), '1').reason).toMatch(/meta\.numbers/);
  });
});

describe('code is found and put together', () => {
  test('the last block, or all of it', () => {
    expect(codeOf('a\n```python\nx = 1\n```\nb\n```\ny = 2\n```')).toBe('y = 2\n');
    expect(codeOf('x = 1')).toBe('x = 1');
  });
  test('a body continues the prefix, a whole function replaces it', () => {
    const meta = { prefix: 'import math\n\ndef f(x):\n', entryPoint: 'f', test: 'assert f(1)' };
    expect(programOf('    return x', meta, 'python')).toBe('\nimport math\n\ndef f(x):\n    return x\nassert f(1)');
    expect(programOf('```python\ndef f(x):\n    return 2\n```', meta, 'python')).toBe(
      '\nimport math\n\ndef f(x):\n    return 2\n\nassert f(1)',
    );
  });
});

test('a combined reward is the weighted sum, and skipped if a part is', () => {
  expect(combine([{ value: 1 }, { value: 0.5 }], [1, 2])).toEqual({ value: 2 });
  expect(combine([{ value: 1 }, { value: 0.5 }])).toEqual({ value: 1.5 });
  expect(combine([{ value: 1 }, { skip: true, reason: 'r' }])).toEqual({ skip: true, reason: 'r' });
});
