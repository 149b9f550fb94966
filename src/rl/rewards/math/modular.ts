import { exactValue } from './exact.js';
import type { Expr } from './expression.js';
import { MAX_EXPONENT_BITS } from './limits.js';
import { isInteger, type Rational } from './rational.js';

/** A prime, 2^61 - 1: two different rational functions of degree n agree at a random point with probability n / 2^61. */
const P = (1n << 61n) - 1n;

const mod = (a: bigint): bigint => ((a % P) + P) % P;

function powMod(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let b = mod(base), e = exponent; e > 0n; e >>= 1n, b = (b * b) % P) if (e & 1n) result = (result * b) % P;
  return result;
}

/** 1/a, or undefined where a is divisible by P. */
const inverse = (a: bigint): bigint | undefined => (mod(a) === 0n ? undefined : powMod(a, P - 2n));

/**
 * The formula's value modulo P with numbers put for its symbols (Schwartz, 1980; Zippel, 1979). Exact for rational
 * functions with integer exponents, however large; pi counts as one more symbol, since it is transcendental. Undefined
 * for everything else, and at poles.
 */
export function modularValue(expr: Expr, at: (name: string) => bigint): bigint | undefined {
  switch (expr.kind) {
    case 'number':
      return fraction(expr.value);
    case 'symbol':
      return mod(at(expr.name));
    case 'constant':
      return expr.name === 'pi' ? mod(at('pi!')) : undefined;
    case 'sum':
      return fold(expr.terms, at, 0n, (a, b) => a + b);
    case 'product':
      return fold(expr.factors, at, 1n, (a, b) => a * b);
    case 'quotient': {
      const over = modularValue(expr.over, at);
      const under = over === undefined ? undefined : modularValue(expr.under, at);
      const flipped = under === undefined ? undefined : inverse(under);
      return flipped === undefined ? undefined : mod(over! * flipped);
    }
    case 'power': {
      const base = modularValue(expr.base, at);
      const exponent = exactValue(expr.exponent);
      return base === undefined || !exponent ? undefined : integerPower(base, exponent);
    }
    case 'percent': {
      const value = modularValue(expr.of, at);
      return value === undefined ? undefined : mod(value * inverse(100n)!);
    }
    default: {
      const value = exactValue(expr);
      return value && fraction(value);
    }
  }
}

function fraction(value: Rational): bigint | undefined {
  if (value.d === 1n) return mod(value.n);
  const under = inverse(value.d);
  return under === undefined ? undefined : mod(value.n * under);
}

function integerPower(base: bigint, exponent: Rational): bigint | undefined {
  if (!isInteger(exponent)) return undefined;
  const size = exponent.n < 0n ? -exponent.n : exponent.n;
  if (size.toString(2).length > MAX_EXPONENT_BITS) return undefined;
  const positive = powMod(base, size);
  return exponent.n < 0n ? inverse(positive) : positive;
}

function fold(
  parts: readonly Expr[],
  at: (name: string) => bigint,
  start: bigint,
  join: (a: bigint, b: bigint) => bigint,
): bigint | undefined {
  let total = start;
  for (const part of parts) {
    const value = modularValue(part, at);
    if (value === undefined) return undefined;
    total = mod(join(total, value));
  }
  return total;
}
