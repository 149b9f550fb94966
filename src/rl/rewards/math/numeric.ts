import * as c from './complex.js';
import { exactValue } from './exact.js';
import type { Expr } from './expression.js';
import { toNumber } from './rational.js';

const NOT_A_NUMBER = c.real(Number.NaN);

/** The formula's value in complex doubles with numbers put for its symbols; NaN where it has none. */
export function numericValue(expr: Expr, at: (name: string) => number): c.Complex {
  const value = (part: Expr): c.Complex => numericValue(part, at);
  switch (expr.kind) {
    case 'number':
      return c.real(toNumber(expr.value));
    case 'symbol':
      return c.real(at(expr.name));
    case 'constant':
      return constant(expr.name);
    case 'sum':
      return expr.terms.map(value).reduce(c.plus, c.real(0));
    case 'product':
      return expr.factors.map(value).reduce(c.times, c.real(1));
    case 'quotient':
      return c.over(value(expr.over), value(expr.under));
    case 'power':
      return c.pow(value(expr.base), value(expr.exponent));
    case 'percent':
      return c.over(value(expr.of), c.real(100));
    case 'degrees':
      return c.times(value(expr.of), c.real(Math.PI / 180));
    case 'plusminus':
      return NOT_A_NUMBER;
    case 'call':
      return call(expr, value);
  }
}

function constant(name: 'pi' | 'e' | 'i' | 'infinity'): c.Complex {
  if (name === 'i') return { re: 0, im: 1 };
  return c.real(name === 'pi' ? Math.PI : name === 'e' ? Math.E : Number.POSITIVE_INFINITY);
}

/** Functions of a real argument that have no complex counterpart here. */
const REAL: Readonly<Record<string, (x: number) => number>> = {
  floor: Math.floor,
  ceil: Math.ceil,
  arcsin: Math.asin,
  arccos: Math.acos,
  arctan: Math.atan,
  sinh: Math.sinh,
  cosh: Math.cosh,
  tanh: Math.tanh,
};

/** log without a base is the natural one, as in most of mathematics and in SymPy; lg is decimal. */
const COMPLEX: Readonly<Record<string, (a: c.Complex) => c.Complex>> = {
  sqrt: (a) => c.pow(a, c.real(0.5)),
  abs: (a) => c.real(c.size(a)),
  exp: c.exp,
  ln: c.ln,
  log: c.ln,
  lg: (a) => c.over(c.ln(a), c.real(Math.LN10)),
  sin: c.sin,
  cos: c.cos,
  tan: (a) => c.over(c.sin(a), c.cos(a)),
  cot: (a) => c.over(c.cos(a), c.sin(a)),
  sec: (a) => c.over(c.real(1), c.cos(a)),
  csc: (a) => c.over(c.real(1), c.sin(a)),
};

function call(expr: Expr & { kind: 'call' }, value: (part: Expr) => c.Complex): c.Complex {
  const exact = exactValue(expr);
  if (exact) return c.real(toNumber(exact));
  const [first, second] = expr.args.map(value);
  if (second) {
    if (expr.name === 'log') return c.over(c.ln(first!), c.ln(second));
    if (expr.name === 'root') return root(first!, second);
    return expr.name === 'binom' ? c.real(binomial(first!.re, second.re)) : NOT_A_NUMBER;
  }
  const complex = COMPLEX[expr.name];
  if (complex) return complex(first!);
  if (first!.im !== 0) return NOT_A_NUMBER;
  if (expr.name === 'factorial') return c.real(factorial(first!.re));
  return c.real(REAL[expr.name]?.(first!.re) ?? Number.NaN);
}

/** The real root of a negative number where the index is odd, else the principal one. */
function root(a: c.Complex, k: c.Complex): c.Complex {
  if (a.im === 0 && a.re < 0 && k.im === 0 && Math.abs(k.re % 2) === 1) return c.real(-((-a.re) ** (1 / k.re)));
  return c.pow(a, c.over(c.real(1), k));
}

/** Gamma(x + 1) by Lanczos' series (g = 7, n = 9), so that (n+1)! = (n+1) n! can be sampled between the integers. */
function factorial(x: number): number {
  if (x < -0.5) return Math.PI / (Math.sin(Math.PI * (x + 1)) * factorial(-x - 1));
  const coefficients = [
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
  ];
  const t = x + 7.5;
  const series = coefficients.reduce((sum, coefficient, i) => sum + (i === 0 ? coefficient : coefficient / (x + i)), 0);
  return Math.sqrt(2 * Math.PI) * t ** (x + 0.5) * Math.exp(-t) * series;
}

const binomial = (n: number, k: number): number => factorial(n) / (factorial(k) * factorial(n - k));
