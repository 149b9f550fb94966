import { describe, expect, test } from 'vitest';
import { sameAnswer } from '../../../src/rl/rewards/math/index.js';
import { MATH_CASES } from './math_cases.js';

describe.each(Object.entries(MATH_CASES))('%s', (_kind, cases) => {
  test.each(cases)('%s | %s: %s', (gold, given, same) => {
    expect(sameAnswer(gold, given)).toBe(same);
  });
});

test('the table has at least 300 cases, a third of them unequal', () => {
  const cases = Object.values(MATH_CASES).flat();
  expect(cases.length).toBeGreaterThanOrEqual(300);
  expect(cases.filter(([, , same]) => !same).length).toBeGreaterThan(cases.length / 4);
});
