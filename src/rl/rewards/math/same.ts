import type { Complex } from './complex.js';
import { exactValue } from './exact.js';
import { type Expr, some, symbolsOf } from './expression.js';
import { modularValue } from './modular.js';
import { numericValue } from './numeric.js';
import * as q from './rational.js';

/** Relative difference of two doubles that came from the same value by different routes. */
const TOLERANCE = 1e-9;
/** A decimal fraction of this many digits stands for the number it rounds or cuts: 0.333333 for 1/3, 3.14159 for pi. */
const ROUNDED_DIGITS = 6;

/**
 * Whether two formulas are equal: as fractions if both are rational; else, if both are rational functions of their
 * symbols, at random points modulo a prime; else at seeded random points in complex doubles.
 */
export function sameValue(a: Expr, b: Expr): boolean {
  const [x, y] = [exactValue(a), exactValue(b)];
  if (x && y && q.equal(x, y)) return true;
  const rounded = roundsTo(a, b) ?? roundsTo(b, a);
  if (rounded !== undefined) return rounded;
  if (x && y) return false;
  const [low, high] = [infinite(a), infinite(b)];
  if (low !== 0 || high !== 0) return low === high;
  return sameModulo(a, b) ?? sameSampled(a, b);
}

/** Whether a long decimal is another formula's value within one unit of its last digit; undefined if it is not one. */
function roundsTo(decimal: Expr, other: Expr): boolean | undefined {
  if (decimal.kind !== 'number' || !decimal.decimals) return undefined;
  const { value, decimals } = decimal;
  const digits = (value.n < 0n ? -value.n : value.n).toString().length;
  const written = q.multiply(value, q.rational(10n ** BigInt(decimals)));
  if (Math.max(digits, written.n.toString().replace('-', '').length) < ROUNDED_DIGITS) return undefined;
  if (other.kind === 'number' && other.decimals !== undefined) return undefined;
  const exact = exactValue(other);
  if (exact) {
    const difference = q.add(value, q.negate(exact));
    return (
      q.compare(
        { n: difference.n < 0n ? -difference.n : difference.n, d: difference.d },
        q.rational(1n, 10n ** BigInt(decimals)),
      ) < 0
    );
  }
  if (symbolsOf(other).size > 0) return false;
  const number = numericValue(other, () => Number.NaN);
  const near = Math.abs(number.re - q.toNumber(value)) < 10 ** -decimals + TOLERANCE * Math.abs(number.re);
  return near && Math.abs(number.im) < TOLERANCE;
}

/** +1 or -1 for an infinity, 0 otherwise. */
function infinite(expr: Expr): number {
  if (!some(expr, (part) => part.kind === 'constant' && part.name === 'infinity')) return 0;
  const { re } = numericValue(expr, () => 1);
  return Number.isNaN(re) ? Number.NaN : Math.sign(re);
}

function sameModulo(a: Expr, b: Expr): boolean | undefined {
  let decided: boolean | undefined;
  for (let round = 0; round < 3; round++) {
    const at = (name: string): bigint => {
      const high = BigInt(hash(`${name}/${round}`));
      return (high << 29n) ^ BigInt(hash(`${round}/${name}`));
    };
    const x = modularValue(a, at);
    const y = x === undefined ? undefined : modularValue(b, at);
    if (x === undefined || y === undefined) continue;
    if (x !== y) return false;
    decided = true;
  }
  return decided;
}

const POSITIVE_POINTS = 6;
const NEGATIVE_POINTS = 6;

/** Points with positive coordinates first: identities like ln x^2 = 2 ln x are meant there. */
function sameSampled(a: Expr, b: Expr): boolean {
  const names = new Set([...symbolsOf(a), ...symbolsOf(b)]);
  const rounds = names.size === 0 ? 1 : POSITIVE_POINTS + NEGATIVE_POINTS;
  let agreements = 0;
  for (let round = 0; round < rounds; round++) {
    const positive = round < POSITIVE_POINTS;
    const at = (name: string): number => {
      const u = hash(`${name}#${round}`) / 2 ** 32;
      return positive ? 0.2 + 2.6 * u : 3 * u - 2;
    };
    const x = numericValue(a, at);
    const y = numericValue(b, at);
    if (!isFinitePoint(x) || !isFinitePoint(y)) continue;
    if (isClose(x, y)) agreements++;
    else if (positive || (x.im === 0 && y.im === 0)) return false;
  }
  return agreements > 0;
}

const isFinitePoint = (a: Complex): boolean => Number.isFinite(a.re) && Number.isFinite(a.im);

function isClose(a: Complex, b: Complex): boolean {
  const scale = Math.max(Math.hypot(a.re, a.im), Math.hypot(b.re, b.im));
  return Math.hypot(a.re - b.re, a.im - b.im) <= TOLERANCE * scale + Number.MIN_VALUE || scale < 1e-14;
}

/** FNV-1a with a final mix: the same points for the same names, on every machine. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
