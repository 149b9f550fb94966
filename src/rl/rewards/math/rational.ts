import { MAX_BITS, MAX_FACTORIAL } from './limits.js';

/** An exact fraction in lowest terms; `d` is positive. */
export interface Rational {
  readonly n: bigint;
  readonly d: bigint;
}

function gcd(a: bigint, b: bigint): bigint {
  let [x, y] = [a < 0n ? -a : a, b < 0n ? -b : b];
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
}

/** n/d in lowest terms. @param d not zero */
export function rational(n: bigint, d = 1n): Rational {
  const common = gcd(n, d) || 1n;
  const sign = d < 0n ? -1n : 1n;
  return { n: (sign * n) / common, d: (sign * d) / common };
}

export const ZERO = rational(0n);
export const ONE = rational(1n);

export const add = (a: Rational, b: Rational): Rational => rational(a.n * b.d + b.n * a.d, a.d * b.d);
export const multiply = (a: Rational, b: Rational): Rational => rational(a.n * b.n, a.d * b.d);
export const negate = (a: Rational): Rational => ({ n: -a.n, d: a.d });
export const equal = (a: Rational, b: Rational): boolean => a.n === b.n && a.d === b.d;
export const isInteger = (a: Rational): boolean => a.d === 1n;
/** The sign of a - b. */
export const compare = (a: Rational, b: Rational): number => {
  const difference = a.n * b.d - b.n * a.d;
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
};

/** a / b, or undefined where b is zero. */
export const divide = (a: Rational, b: Rational): Rational | undefined =>
  b.n === 0n ? undefined : rational(a.n * b.d, a.d * b.n);

const bits = (n: bigint): number => (n < 0n ? -n : n).toString(16).length * 4;
/** Whether the fraction is small enough to go on computing with. */
export const isSmall = (a: Rational): boolean => bits(a.n) <= MAX_BITS && bits(a.d) <= MAX_BITS;

/** The real k-th root of a perfect k-th power; undefined where it is irrational or not real. */
export function exactRoot(a: Rational, k: bigint): Rational | undefined {
  if (k < 1n || k > 64n || (a.n < 0n && k % 2n === 0n)) return undefined;
  const n = integerRoot(a.n < 0n ? -a.n : a.n, k);
  const d = integerRoot(a.d, k);
  if (n === undefined || d === undefined) return undefined;
  return { n: a.n < 0n ? -n : n, d };
}

/** Newton's method from above on x^k = a. */
function integerRoot(a: bigint, k: bigint): bigint | undefined {
  if (a < 2n) return a;
  let x = 1n << (BigInt(a.toString(2).length) / k + 1n);
  for (;;) {
    const next = ((k - 1n) * x + a / x ** (k - 1n)) / k;
    if (next >= x) break;
    x = next;
  }
  return x ** k === a ? x : undefined;
}

/** a^b for rational b where the result is rational and small; undefined otherwise. */
export function power(a: Rational, b: Rational): Rational | undefined {
  if (!isInteger(b)) {
    const root = exactRoot(a, b.d);
    return root && power(root, rational(b.n));
  }
  const size = b.n < 0n ? -b.n : b.n;
  if (a.n === 0n) return b.n > 0n ? ZERO : b.n === 0n ? ONE : undefined;
  const length = BigInt(Math.max(bits(a.n), bits(a.d)));
  const unit = (a.n === 1n || a.n === -1n) && a.d === 1n;
  if (unit) return size % 2n === 0n ? ONE : a;
  if (length * size > BigInt(MAX_BITS)) return undefined;
  return b.n >= 0n ? rational(a.n ** size, a.d ** size) : rational(a.d ** size, a.n ** size);
}

/** n!, for 0 <= n <= MAX_FACTORIAL. */
export function factorial(a: Rational): Rational | undefined {
  if (!isInteger(a) || a.n < 0n || a.n > BigInt(MAX_FACTORIAL)) return undefined;
  let product = 1n;
  for (let i = 2n; i <= a.n; i++) product *= i;
  return rational(product);
}

/** n(n-1)..(n-k+1)/k!, for integers 0 <= k <= MAX_FACTORIAL. */
export function binomial(n: Rational, k: Rational): Rational | undefined {
  if (!isInteger(n) || !isInteger(k) || k.n < 0n || k.n > BigInt(MAX_FACTORIAL) || bits(n.n) > 64) return undefined;
  let value = ONE;
  for (let i = 0n; i < k.n; i++) value = multiply(value, rational(n.n - i, i + 1n));
  return value;
}

/** The greatest integer not above a. */
export const floor = (a: Rational): Rational => rational(a.n < 0n && a.d !== 1n ? a.n / a.d - 1n : a.n / a.d);

/** The nearest double; infinite where out of range. */
export function toNumber(a: Rational): number {
  const scale = Math.max(bits(a.n), bits(a.d)) - 1000;
  if (scale <= 0) return Number(a.n) / Number(a.d);
  const shift = 64n + BigInt(Math.max(0, bits(a.d) - bits(a.n)));
  return Number((a.n << shift) / a.d) / Number(1n << shift);
}
