import type { Answer, Expr } from './expression.js';
import { isInteger, type Rational, rational } from './rational.js';
import { Unreadable } from './tokens.js';

/* The expressions that parsing makes. */

export const number = (value: Rational): Expr => ({ kind: 'number', value });
const MINUS_ONE = number(rational(-1n));
export const INFINITY: Expr = { kind: 'constant', name: 'infinity' };
export const call = (name: string, ...args: Expr[]): Expr => ({ kind: 'call', name, args });

export const negative = (expr: Expr): Expr =>
  expr.kind === 'number'
    ? { ...expr, value: { n: -expr.value.n, d: expr.value.d } }
    : { kind: 'product', factors: [MINUS_ONE, expr] };

export function times(left: Expr, right: Expr): Expr {
  return left.kind === 'product'
    ? { kind: 'product', factors: [...left.factors, right] }
    : { kind: 'product', factors: [left, right] };
}

export function prime(base: Expr): Expr {
  if (base.kind !== 'symbol') throw new Unreadable('a prime stands after something that is no name');
  return { kind: 'symbol', name: `${base.name}'` };
}

/** Whether a fraction has whole positive parts and lies below one, as in a mixed number. */
export function isProper(fraction: Expr): boolean {
  if (fraction.kind !== 'quotient') return false;
  const { over, under } = fraction;
  if (over.kind !== 'number' || under.kind !== 'number') return false;
  return isInteger(over.value) && isInteger(under.value) && over.value.n > 0n && over.value.n < under.value.n;
}

/** The value of decimal digits read in another base. */
export function inBase(base: Expr & { kind: 'number' }, label: string): Expr {
  const radix = Number(label);
  const digits = [...base.value.n.toString()].map(Number);
  if (
    !isInteger(base.value) ||
    base.value.n < 0n ||
    !(radix >= 2 && radix <= 36) ||
    digits.some((digit) => digit >= radix)
  ) {
    throw new Unreadable(`the digits do not belong to base ${label.slice(0, 10)}`);
  }
  return number(rational(digits.reduce((sum, digit) => sum * BigInt(radix) + BigInt(digit), 0n)));
}

/** An interval as the tuple it is written as. */
export function interval(closedLow: boolean, low: Expr, high: Expr, closedHigh: boolean): Answer {
  const items: Answer[] = [
    { kind: 'value', expr: low },
    { kind: 'value', expr: high },
  ];
  return { kind: 'tuple', open: closedLow ? '[' : '(', close: closedHigh ? ']' : ')', items };
}
