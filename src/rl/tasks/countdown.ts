import { TrainMoeError } from '../../errors.js';
import { type Draw, drawInSplit } from './random.js';
import type { Problem, Task } from './types.js';

/** Sizes of the puzzles. */
export interface CountdownOptions {
  /** How many numbers a puzzle gives. */
  readonly count?: number;
  /** Numbers are 1 .. max. */
  readonly max?: number;
  /** Targets are 1 .. maxTarget. */
  readonly maxTarget?: number;
  readonly rewards?: Problem['rewards'];
}

/**
 * Countdown: reach the target with + - * / from numbers used once each. A puzzle is made backwards from an expression
 * with whole intermediate values, so that it has a solution (`meta.solution`). The splits differ in (numbers, target).
 * @throws TrainMoeError for options out of range
 */
export function countdown(options: CountdownOptions = {}): Task {
  const { count = 3, max = 25, maxTarget = 100, rewards = ['countdown', 'format'] } = options;
  const whole = [count, max, maxTarget].every(Number.isInteger);
  if (!whole || count < 2 || count > 8 || max < 4 || max > 1000 || maxTarget < 10 || maxTarget > 100_000) {
    throw new TrainMoeError(
      'bad-config',
      `The countdown task was given ${count} numbers up to ${max} and targets up to ${maxTarget}; it takes 2 to 8 numbers up to 4..1000 and targets up to 10..100000.`,
    );
  }
  const make = (random: Draw) => puzzle(random, count, max, maxTarget);
  const problem = (heldOut: boolean, index: number, seed: number): Problem => {
    const meta = drawInSplit(heldOut, [seed, index], make)!;
    const numbers = meta.numbers.join(', ');
    const prompt =
      `Using the numbers ${numbers}, write an expression that equals ${meta.target}. ` +
      'Use + - * / and parentheses, and use each number exactly once.';
    return { prompt, answer: String(meta.target), rewards, meta };
  };
  return {
    name: 'countdown',
    train: (index, seed) => problem(false, index, seed),
    test: (index) => problem(true, index, 0),
    testSize: Number.POSITIVE_INFINITY,
  };
}

interface Part {
  readonly value: number;
  readonly text: string;
}

/** Joins random numbers by random operations until one value is left; undefined where it is no target. */
function puzzle(random: Draw, count: number, max: number, maxTarget: number) {
  const numbers = Array.from({ length: count }, () => random.integer(1, max));
  let parts: Part[] = numbers.map((value) => ({ value, text: String(value) }));
  while (parts.length > 1) {
    const i = random.integer(0, parts.length - 1);
    const a = parts[i]!;
    const rest = parts.filter((_, place) => place !== i);
    const j = random.integer(0, rest.length - 1);
    const joined = join(random, a, rest[j]!);
    parts = [...rest.filter((_, place) => place !== j), joined];
  }
  const { value: target, text } = parts[0]!;
  if (target < 1 || target > maxTarget) return undefined;
  const operands = [...numbers].sort((a, b) => a - b);
  return { operands: [target, ...operands], problem: { numbers, target, solution: text.replace(/^\((.*)\)$/, '$1') } };
}

function join(random: Draw, a: Part, b: Part): Part {
  const [large, small] = a.value >= b.value ? [a, b] : [b, a];
  const signs = ['+', '-', '*'];
  if (small.value !== 0 && large.value % small.value === 0) signs.push('/');
  const sign = random.pick(signs);
  const value =
    sign === '+'
      ? large.value + small.value
      : sign === '-'
        ? large.value - small.value
        : sign === '*'
          ? large.value * small.value
          : large.value / small.value;
  return { value, text: `(${large.text} ${sign} ${small.text})` };
}
