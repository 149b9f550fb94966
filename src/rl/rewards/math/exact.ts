import type { Expr } from './expression.js';
import * as q from './rational.js';

/** The formula's value as a fraction; undefined where it is irrational, has symbols or grows beyond the limits. */
export function exactValue(expr: Expr): q.Rational | undefined {
  const value = evaluate(expr);
  return value && q.isSmall(value) ? value : undefined;
}

function fold(
  parts: readonly Expr[],
  start: q.Rational,
  join: (a: q.Rational, b: q.Rational) => q.Rational,
): q.Rational | undefined {
  let total = start;
  for (const part of parts) {
    const value = exactValue(part);
    if (!value) return undefined;
    total = join(total, value);
    if (!q.isSmall(total)) return undefined;
  }
  return total;
}

function evaluate(expr: Expr): q.Rational | undefined {
  switch (expr.kind) {
    case 'number':
      return expr.value;
    case 'sum':
      return fold(expr.terms, q.ZERO, q.add);
    case 'product':
      return fold(expr.factors, q.ONE, q.multiply);
    case 'quotient':
      return both(expr.over, expr.under, q.divide);
    case 'power':
      return both(expr.base, expr.exponent, q.power);
    case 'percent':
      return both(expr.of, { kind: 'number', value: q.rational(100n) }, q.divide);
    case 'call':
      return exactCall(expr.name, expr.args);
    default:
      return undefined;
  }
}

function both(
  left: Expr,
  right: Expr,
  join: (a: q.Rational, b: q.Rational) => q.Rational | undefined,
): q.Rational | undefined {
  const a = exactValue(left);
  const b = a && exactValue(right);
  return a && b && join(a, b);
}

function exactCall(name: string, args: readonly Expr[]): q.Rational | undefined {
  const [first, second] = args;
  if (name === 'binom') return both(first!, second!, q.binomial);
  if (name === 'root') return both(first!, second!, (a, k) => (q.isInteger(k) ? q.exactRoot(a, k.n) : undefined));
  const a = exactValue(first!);
  if (!a || second) return undefined;
  switch (name) {
    case 'sqrt':
      return q.exactRoot(a, 2n);
    case 'abs':
      return a.n < 0n ? q.negate(a) : a;
    case 'floor':
      return q.floor(a);
    case 'ceil':
      return q.negate(q.floor(q.negate(a)));
    case 'factorial':
      return q.factorial(a);
    default:
      return undefined;
  }
}
