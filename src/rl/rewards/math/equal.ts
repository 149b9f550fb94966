import type { ParsedAnswer } from './answer.js';
import { type Answer, type Expr, rewrite } from './expression.js';
import { numericValue } from './numeric.js';
import { rational } from './rational.js';
import { sameValue } from './same.js';

/**
 * Whether an answer says the same as the reference: the same letter of a choice, the same words, or the same
 * mathematics in one of their readings.
 */
export function equalAnswers(gold: ParsedAnswer, given: ParsedAnswer): boolean {
  if (gold.choice !== undefined && given.choice !== undefined) return gold.choice === given.choice;
  if (gold.source === given.source || (hasWords(gold.text) && gold.text === given.text)) return true;
  return gold.readings.some((a) => given.readings.some((b) => equal(a, b)));
}

function equal(a: Answer, b: Answer): boolean {
  if (isScattered(a) || isScattered(b)) return equalScattered(a, b);
  if (a.kind === 'tuple' || b.kind === 'tuple') return equalTuples(a, b);
  if (a.kind === 'matrix' || b.kind === 'matrix') {
    return a.kind === 'matrix' && b.kind === 'matrix' && equalInOrder(a.rows.map(row), b.rows.map(row));
  }
  if (a.kind === 'relation' || b.kind === 'relation') return equalRelations(a, b);
  return equalValues(a as Value, b as Value);
}

/** Case is dropped in words; in formulas, a and A are two variables. */
const hasWords = (text: string): boolean => /\p{L}{2}/u.test(text.replace(/\\[a-z]+/g, ' '));

type Value = Answer & { readonly kind: 'value' };
const row = (items: readonly Answer[]): Answer => ({ kind: 'tuple', open: '(', close: ')', items });
const isScattered = (a: Answer): boolean => a.kind === 'set' || a.kind === 'list' || a.kind === 'union';

/** Sets and lists have no order, and a single element needs no braces; a list may be a tuple whose brackets are missing. */
function equalScattered(a: Answer, b: Answer): boolean {
  if (a.kind === 'tuple' && b.kind === 'list') return isPoint(a) && equalInOrder(a.items, b.items);
  if (b.kind === 'tuple' && a.kind === 'list') return isPoint(b) && equalInOrder(a.items, b.items);
  // "x < 1 or x > 2" is a list of intervals; no other list is a union.
  if ((a.kind === 'union') !== (b.kind === 'union') && ![a, b].every(hasTuplesOnly)) return false;
  return equalInAnyOrder(distinct(elements(a)), distinct(elements(b)));
}

const hasTuplesOnly = (a: Answer): boolean => a.kind !== 'set' && elements(a).every((item) => item.kind === 'tuple');
const isPoint = (a: Answer): boolean => a.kind === 'tuple' && a.open === '(' && a.close === ')';
const elements = (a: Answer): readonly Answer[] => (isScattered(a) ? (a as { items: readonly Answer[] }).items : [a]);

function distinct(items: readonly Answer[]): Answer[] {
  const kept: Answer[] = [];
  for (const item of items) if (!kept.some((other) => equal(item, other))) kept.push(item);
  return kept;
}

function equalInAnyOrder(a: readonly Answer[], b: readonly Answer[]): boolean {
  if (a.length !== b.length) return false;
  const left = [...b];
  return a.every((item) => {
    const at = left.findIndex((other) => equal(item, other));
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  });
}

const equalInOrder = (a: readonly Answer[], b: readonly Answer[]): boolean =>
  a.length === b.length && a.every((item, i) => equal(item, b[i]!));

/** Points and intervals need the same brackets; a column or row of a matrix is a point, too. */
function equalTuples(a: Answer, b: Answer): boolean {
  const [x, y] = [asTuple(a), asTuple(b)];
  return (
    x !== undefined && y !== undefined && x.open === y.open && x.close === y.close && equalInOrder(x.items, y.items)
  );
}

function asTuple(a: Answer): (Answer & { kind: 'tuple' }) | undefined {
  if (a.kind === 'tuple') return a;
  if (a.kind !== 'matrix') return undefined;
  if (a.rows.length === 1) return row(a.rows[0]!) as Answer & { kind: 'tuple' };
  return a.rows.every((cells) => cells.length === 1) ? (row(a.rows.flat()) as Answer & { kind: 'tuple' }) : undefined;
}

/** Equations are equal up to a constant factor: 2x + 2y = 4 is x + y = 2. Inequalities must have the same sign. */
function equalRelations(a: Answer, b: Answer): boolean {
  if (a.kind !== 'relation' || b.kind !== 'relation') return false;
  if (a.sides.length !== 2 || b.sides.length !== 2) {
    const sameSigns = a.signs.join(' ') === b.signs.join(' ');
    return sameSigns && a.sides.length === b.sides.length && a.sides.every((side, i) => sameValue(side, b.sides[i]!));
  }
  const [sign, other] = [a.signs[0]!, b.signs[0]!];
  const [x, y] = [difference(a.sides), difference(b.sides)];
  if (!proportional(x, y)) return false;
  if (sign === '=' || sign === '!=') return sign === other;
  return (ratioIsPositive(x, y) ? sign : MIRRORED[sign]) === other;
}

const MIRRORED: Readonly<Record<string, string>> = { '<': '>', '>': '<', '<=': '>=', '>=': '<=' };
const ZERO: Expr = { kind: 'number', value: rational(0n) };
const MINUS_ONE: Expr = { kind: 'number', value: rational(-1n) };
const product = (...factors: Expr[]): Expr => ({ kind: 'product', factors });
const difference = (sides: readonly Expr[]): Expr => ({
  kind: 'sum',
  terms: [sides[0]!, product(MINUS_ONE, sides[1]!)],
});

/** x = k y for a constant k: x(p) y(q) = x(q) y(p) for all points p and q. Two zeros are, a zero and another are not. */
function proportional(x: Expr, y: Expr): boolean {
  if (sameValue(x, ZERO) !== sameValue(y, ZERO)) return false;
  return sameValue(product(x, elsewhere(y)), product(elsewhere(x), y));
}

/** The formula at another point: every symbol has a new name. */
const elsewhere = (expr: Expr): Expr =>
  rewrite(expr, (part) => (part.kind === 'symbol' ? { kind: 'symbol', name: `${part.name}*` } : part));

const ratioIsPositive = (x: Expr, y: Expr): boolean => {
  const at = (): number => 0.7310585786;
  return numericValue(x, at).re * numericValue(y, at).re >= 0;
};

/** A percentage may be meant as 50 or as 1/2; a unit may be left out but not changed. */
function equalValues(a: Value, b: Value): boolean {
  if (a.kind !== b.kind) return false;
  if (a.unit !== undefined && b.unit !== undefined && a.unit !== b.unit) return false;
  if (sameValue(a.expr, b.expr)) return true;
  const [p, q] = [a.expr.kind === 'percent' ? a.expr.of : a.expr, b.expr.kind === 'percent' ? b.expr.of : b.expr];
  return (p !== a.expr) !== (q !== b.expr) && sameValue(p, q);
}
