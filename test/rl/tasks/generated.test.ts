import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { evaluateExpression } from '../../../src/rl/rewards/builtin/countdown.js';
import { countdown as countdownReward, number } from '../../../src/rl/rewards/index.js';
import { arith, countdown, type Problem, type Task, zeroPrompt } from '../../../src/rl/tasks/index.js';

const tasks: readonly (readonly [string, Task])[] = [
  ['products of one digit', arith({ kind: 'multiply', digits: 1 })],
  ['products of three digits', arith({ kind: 'multiply', digits: 3 })],
  ['chains', arith({ kind: 'chain', digits: 1, terms: 2 })],
  ['both', arith()],
  ['countdown with 2 numbers', countdown({ count: 2, max: 9, maxTarget: 20 })],
  ['countdown with 4 numbers', countdown({ count: 4 })],
];

/** The operands of a question in the order that makes equal problems equal. */
const identity = ({ meta, prompt }: Problem): string => {
  if (Array.isArray(meta?.numbers)) return [meta.target, ...[...meta.numbers].sort((a, b) => a - b)].join(' ');
  const factors = /^What is (\d+) \* (\d+)\?$/.exec(prompt);
  return factors ? [Number(factors[1]), Number(factors[2])].sort((a, b) => a - b).join('*') : prompt;
};

describe.each(tasks)('%s', (_name, task) => {
  test('the same seed and index give the same problem, others another', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31), fc.nat(1e9), (index, seed) => {
        expect(task.train(index, seed)).toEqual(task.train(index, seed));
        expect(task.test(index)).toEqual(task.test(index));
      }),
      { numRuns: 50 },
    );
    const prompts = (seed: number) => Array.from({ length: 20 }, (_, i) => task.train(i, seed).prompt).join();
    expect(prompts(1)).not.toBe(prompts(2));
    expect(new Set(Array.from({ length: 20 }, (_, i) => task.train(i, 1).prompt)).size).toBeGreaterThan(3);
  });

  test('train and test have no problem in common', () => {
    const trained = new Set<string>();
    for (let seed = 0; seed < 4; seed++) for (let i = 0; i < 1000; i++) trained.add(identity(task.train(i, seed)));
    for (let i = 0; i < 1000; i++) expect(trained).not.toContain(identity(task.test(i)));
  });
});

describe('arith', () => {
  test('answers are right, and the grader says so', async () => {
    const reward = number();
    for (const options of [{ kind: 'chain', terms: 6 }, { kind: 'multiply', digits: 7 }, {}] as const) {
      for (let i = 0; i < 200; i++) {
        const { prompt, answer, meta } = arith(options).train(i, 5);
        expect(prompt).toBe(`What is ${meta!.question}?`);
        // Terms are joined from left to right; only products bind closer.
        const terms = String(meta!.question).replaceAll(' - ', ' + -').split(' + ');
        const sum = terms.reduce((total, term) => {
          const [first, ...others] = term.replace('-', '').split(' * ').map(BigInt);
          const size = others.reduce((product, factor) => product * factor, first!);
          return term.startsWith('-') ? total - size : total + size;
        }, 0n);
        expect(answer).toBe(String(sum));
        expect(await reward.score({ prompt, completion: `so it is ${answer}`, answer: answer! })).toMatchObject({
          value: 1,
        });
      }
    }
  });

  test('numbers have the digits asked for', () => {
    const task = arith({ kind: 'multiply', digits: 3 });
    for (let i = 0; i < 100; i++) expect(task.train(i, 1).prompt).toMatch(/^What is \d{3} \* \d{3}\?$/);
  });

  test.each([{ digits: 0 }, { digits: 8 }, { terms: 1 }, { digits: 1.5 }])('refuses %j', (options) => {
    expect(() => arith(options)).toThrow(/1 to 7 digits and 2 to 50 terms/);
  });
});

describe('countdown', () => {
  test('every puzzle has a solution that uses each number once and reaches the target', () => {
    const reward = countdownReward();
    for (const count of [2, 3, 4, 6, 8]) {
      const task = countdown({ count, max: 50, maxTarget: 1000 });
      for (let i = 0; i < 200; i++) {
        const { prompt, meta } = i % 2 ? task.train(i, 3) : task.test(i);
        expect(meta!.numbers).toHaveLength(count);
        expect(meta!.target).toBeLessThanOrEqual(1000);
        const completion = `<answer>${meta!.solution}</answer>`;
        expect([meta, reward.score({ prompt, completion, meta: meta! })]).toMatchObject([{}, { value: 1 }]);
        expect(evaluateExpression(String(meta!.solution))).toMatchObject({
          value: { n: BigInt(meta!.target as number), d: 1n },
        });
      }
    }
  });

  test.each([{ count: 1 }, { count: 9 }, { max: 2 }, { maxTarget: 5 }])('refuses %j', (options) => {
    expect(() => countdown(options)).toThrow(/2 to 8 numbers/);
  });
});

test('the plain prompt asks for both tags and ends where the Assistant begins', () => {
  const prompt = zeroPrompt('What is 2 + 2?');
  for (const tag of ['<think>', '</think>', '<answer>', '</answer>']) expect(prompt).toContain(tag);
  expect(prompt).toMatch(/User: What is 2 \+ 2\?\. Assistant:$/);
  expect(zeroPrompt('q', { opened: true })).toMatch(/Assistant: <think>$/);
});
