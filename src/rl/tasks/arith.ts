import { TrainMoeError } from '../../errors.js';
import { type Draw, drawInSplit } from './random.js';
import type { Problem, Task } from './types.js';

/** Sizes of the sums. */
export interface ArithOptions {
  /** "multiply": a product of two numbers. "chain": a sum of numbers with signs, some of them doubled or tripled. */
  readonly kind?: 'multiply' | 'chain' | 'both';
  /** Digits of the factors or of the terms. */
  readonly digits?: number;
  /** Terms of a chain. */
  readonly terms?: number;
  /** What a term of a chain may be multiplied by, drawn from these; default 1, 1, 2, 3. */
  readonly factors?: readonly number[];
  readonly rewards?: Problem['rewards'];
}

/**
 * Arithmetic that rewards working step by step: multi-digit products and chains of sums. Train and test hold different
 * operands; a*b and b*a are one problem.
 * @throws TrainMoeError for options out of range
 */
export function arith(options: ArithOptions = {}): Task {
  const { kind = 'both', digits = 2, terms = 4, factors = [1, 1, 2, 3], rewards = ['number', 'format'] } = options;
  if (!Number.isInteger(digits) || digits < 1 || digits > 7 || !Number.isInteger(terms) || terms < 2 || terms > 50) {
    throw new TrainMoeError(
      'bad-config',
      `The arith task was given ${digits} digits and ${terms} terms; it takes 1 to 7 digits and 2 to 50 terms.`,
    );
  }
  const low = digits === 1 ? 1 : 10 ** (digits - 1);
  const high = 10 ** digits - 1;
  const make = (random: Draw) => {
    const which = kind === 'both' ? random.pick(['multiply', 'chain'] as const) : kind;
    return which === 'multiply' ? product(random, low, high) : chain(random, low, high, terms, factors);
  };
  const problem = (heldOut: boolean, index: number, seed: number): Problem => {
    const { question, answer } = drawInSplit(heldOut, [seed, index], make)!;
    return { prompt: `What is ${question}?`, answer, rewards, meta: { question } };
  };
  return {
    name: 'arith',
    train: (index, seed) => problem(false, index, seed),
    test: (index) => problem(true, index, 0),
    testSize: Number.POSITIVE_INFINITY,
  };
}

function product(random: Draw, low: number, high: number) {
  const [a, b] = [random.integer(low, high), random.integer(low, high)];
  const operands = [1, Math.min(a, b), Math.max(a, b)];
  return { operands, problem: { question: `${a} * ${b}`, answer: String(BigInt(a) * BigInt(b)) } };
}

function chain(random: Draw, low: number, high: number, terms: number, factors: readonly number[]) {
  let question = '';
  let sum = 0;
  const operands: number[] = [2];
  for (let i = 0; i < terms; i++) {
    const sign = i === 0 ? 1 : random.pick([1, -1]);
    const factor = random.pick(factors);
    const term = random.integer(low, high);
    sum += sign * factor * term;
    operands.push(sign * factor, term);
    question += `${i === 0 ? '' : sign > 0 ? ' + ' : ' - '}${factor === 1 ? '' : `${factor} * `}${term}`;
  }
  return { operands, problem: { question, answer: String(sum) } };
}
