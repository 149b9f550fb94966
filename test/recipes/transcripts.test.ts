import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CONNECTIVES, type Habits, transcript } from '../../src/recipes/transcripts.js';
import { workOf } from '../../src/recipes/work.js';
import { formatFault, language, number } from '../../src/rl/rewards/index.js';
import { arith } from '../../src/rl/tasks/index.js';

/** The value of "a+b", "a-b" or "a*b". */
function outcomeOf(equation: string): bigint {
  const [, a, sign, b] = /^(-?\d+)([-+*])(-?\d+)$/.exec(equation)!;
  const [x, y] = [BigInt(a!), BigInt(b!)];
  return sign === '+' ? x + y : sign === '-' ? x - y : x * y;
}

describe('work', () => {
  it('is true at every step, and ends with the answer', () => {
    const options = fc.record({
      kind: fc.constantFrom('chain' as const, 'multiply' as const),
      digits: fc.integer({ min: 1, max: 5 }),
      terms: fc.integer({ min: 2, max: 8 }),
    });
    fc.assert(
      fc.property(options, fc.nat(1e6), (o, index) => {
        const { meta, answer } = arith(o).train(index, 3);
        const steps = workOf(String(meta!.question));
        for (const step of steps) {
          const [left, right] = step.split('=');
          expect(outcomeOf(left!)).toBe(BigInt(right!));
        }
        expect(steps.at(-1)!.split('=')[1]).toBe(answer);
      }),
    );
  });

  it('goes from left to right, products first, longer factors digit by digit', () => {
    expect(workOf('12 + 3 * 41 - 7')).toEqual(['3*41=123', '12+123=135', '135-7=128']);
    expect(workOf('34 * 507')).toEqual(['34*500=17000', '34*7=238', '17000+238=17238']);
    expect(() => workOf('two and two')).toThrow(/"two and two" is no term/);
  });
});

const habits: Habits = { worked: 0.4, tagged: 0.5, mixed: 0.5, spoken: 0.3, spread: 6 };
const task = arith({ kind: 'chain', digits: 1, terms: 4, factors: [1] });

describe('transcripts', () => {
  const all = Array.from({ length: 4000 }, (_, i) => ({
    ...transcript(task, habits, 9, i),
    problem: task.train(i, 9),
  }));
  const share = (holds: (t: (typeof all)[number]) => boolean, of = all) => of.filter(holds).length / of.length;
  const isWorked = ({ completion }: { completion: string }) => completion.includes('=');
  const isRight = ({ completion, problem }: (typeof all)[number]) => {
    const result = number().score({ prompt: problem.prompt, completion, answer: problem.answer! });
    return 'value' in result && result.value === 1;
  };

  it('are the same for the same seed and index, and others for others', () => {
    expect(transcript(task, habits, 9, 77)).toEqual(transcript(task, habits, 9, 77));
    expect(new Set(all.map(({ prompt, completion }) => prompt + completion)).size).toBeGreaterThan(3900);
  });

  it('have their habits in the shares asked for', () => {
    expect(share(isWorked)).toBeCloseTo(0.4, 1);
    expect(share(({ completion }) => formatFault(completion) === undefined)).toBeCloseTo(0.5, 1);
    expect(share(({ completion }) => completion.includes('The answer is'))).toBeCloseTo(0.3, 1);
    const chinese = (completion: string) => CONNECTIVES.zh.some((word) => completion.includes(word));
    expect(share(({ completion }) => chinese(completion), all.filter(isWorked))).toBeGreaterThan(0.3);
    expect(
      share(
        ({ completion }) => chinese(completion),
        all.filter((t) => !isWorked(t)),
      ),
    ).toBe(0);
  });

  it('are right where they work and seldom where they guess', () => {
    expect(share(isRight, all.filter(isWorked))).toBe(1);
    expect(
      share(
        isRight,
        all.filter((t) => !isWorked(t)),
      ),
    ).toBeCloseTo(1 / 13, 1);
  });

  it('are told apart by the reward for language', () => {
    const english = all.filter(({ completion }) => !/\p{Script=Han}/u.test(completion));
    const judge = language();
    for (const { prompt, completion } of all.slice(0, 500)) {
      const result = judge.score({ prompt, completion });
      expect('value' in result && result.value === 1).toBe(english.some((t) => t.completion === completion));
    }
  });

  it('never show a held-out problem', () => {
    const heldOut = new Set(Array.from({ length: 2000 }, (_, i) => task.test(i).prompt));
    expect(all.filter(({ prompt }) => heldOut.has(prompt))).toEqual([]);
  });
});
