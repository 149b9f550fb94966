import type { Rational } from './rational.js';

/** Functions of one or two arguments that the verifier can evaluate. */
// biome-ignore format: a table
export const FUNCTIONS = new Set([
  'sqrt', 'root', 'abs', 'floor', 'ceil', 'factorial', 'binom', 'exp', 'ln', 'log', 'lg',
  'sin', 'cos', 'tan', 'cot', 'sec', 'csc', 'arcsin', 'arccos', 'arctan', 'sinh', 'cosh', 'tanh',
]);

/** A formula. Subtraction is a sum with a product by -1; `plusminus` stands for both signs of its operand. */
export type Expr =
  /** `decimals`: digits after the point, where the number was written as a decimal fraction. */
  | { readonly kind: 'number'; readonly value: Rational; readonly decimals?: number }
  | { readonly kind: 'symbol'; readonly name: string }
  | { readonly kind: 'constant'; readonly name: 'pi' | 'e' | 'i' | 'infinity' }
  | { readonly kind: 'sum'; readonly terms: readonly Expr[] }
  | { readonly kind: 'product'; readonly factors: readonly Expr[] }
  | { readonly kind: 'quotient'; readonly over: Expr; readonly under: Expr }
  | { readonly kind: 'power'; readonly base: Expr; readonly exponent: Expr }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Expr[] }
  | { readonly kind: 'percent' | 'degrees'; readonly of: Expr }
  /** sign +1 for \pm, -1 for \mp. */
  | { readonly kind: 'plusminus'; readonly sign: 1 | -1; readonly of: Expr };

/** What a whole answer can be. */
export type Answer =
  | { readonly kind: 'value'; readonly expr: Expr; readonly unit?: string }
  /** A point, vector or interval: brackets decide. */
  | { readonly kind: 'tuple'; readonly open: '(' | '['; readonly close: ')' | ']'; readonly items: readonly Answer[] }
  | { readonly kind: 'set' | 'list' | 'union'; readonly items: readonly Answer[] }
  /** sides[0] signs[0] sides[1] .. */
  | { readonly kind: 'relation'; readonly sides: readonly Expr[]; readonly signs: readonly string[] }
  | { readonly kind: 'matrix'; readonly rows: readonly (readonly Answer[])[] };

const children = (expr: Expr): readonly Expr[] => {
  switch (expr.kind) {
    case 'sum':
      return expr.terms;
    case 'product':
      return expr.factors;
    case 'quotient':
      return [expr.over, expr.under];
    case 'power':
      return [expr.base, expr.exponent];
    case 'call':
      return expr.args;
    case 'percent':
    case 'degrees':
    case 'plusminus':
      return [expr.of];
    default:
      return [];
  }
};

/** Whether any part of the formula satisfies the test. */
export const some = (expr: Expr, test: (part: Expr) => boolean): boolean =>
  test(expr) || children(expr).some((child) => some(child, test));

/** The formula with its parts replaced by `change`, from the leaves up. */
export function rewrite(expr: Expr, change: (part: Expr) => Expr): Expr {
  const next = (part: Expr): Expr => rewrite(part, change);
  switch (expr.kind) {
    case 'sum':
      return change({ ...expr, terms: expr.terms.map(next) });
    case 'product':
      return change({ ...expr, factors: expr.factors.map(next) });
    case 'quotient':
      return change({ ...expr, over: next(expr.over), under: next(expr.under) });
    case 'power':
      return change({ ...expr, base: next(expr.base), exponent: next(expr.exponent) });
    case 'call':
      return change({ ...expr, args: expr.args.map(next) });
    case 'percent':
    case 'degrees':
    case 'plusminus':
      return change({ ...expr, of: next(expr.of) });
    default:
      return change(expr);
  }
}

/** Names of the free symbols. */
export function symbolsOf(expr: Expr, into = new Set<string>()): Set<string> {
  if (expr.kind === 'symbol') into.add(expr.name);
  for (const child of children(expr)) symbolsOf(child, into);
  return into;
}
