import { interval } from './construct.js';
import { type Answer, type Expr, rewrite, some, symbolsOf } from './expression.js';
import { MAX_ANSWER_CHARS } from './limits.js';
import { parseAnswer } from './parse.js';
import { rational } from './rational.js';
import { Unreadable } from './tokens.js';

/** An answer with every way it can be read. `text` is its wording, for answers that are words. */
export interface ParsedAnswer {
  /** `1,000` has two readings. Empty for words. */
  readonly readings: readonly Answer[];
  /** As it was written, without what surrounds it. */
  readonly source: string;
  /** Normalised wording. */
  readonly text: string;
  /** The letter of a multiple choice answer: "(B)", "B. 12", "\textbf{(B)}". */
  readonly choice?: string;
}

/** A parsed answer, or why there is none. */
export type ParseResult = ParsedAnswer | { readonly unreadable: string };

/** Reads one answer, without the text around it. Linear in its length; longer texts than any answer are refused. */
export function parseFinalAnswer(source: string): ParseResult {
  if (source.length > MAX_ANSWER_CHARS)
    return { unreadable: `the answer has more than ${MAX_ANSWER_CHARS} characters` };
  const inner = unwrap(source.trim());
  if (inner === '') return { unreadable: 'the answer is empty' };
  const choice = choiceOf(inner);
  const text = wording(inner);
  const readings: Answer[] = [];
  let reason = '';
  for (const groupDigits of inner.includes(',') && /[([{]/.test(inner) ? [true, false] : [true]) {
    try {
      readings.push(normalise(parseAnswer(inner, { groupDigits })));
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      reason = error.message;
    }
  }
  if (readings.length === 0 && choice === undefined && !isWords(inner)) return { unreadable: reason };
  return { readings, source: inner, text, ...(choice !== undefined && { choice }) };
}

/** Drops what surrounds an answer: $..$, \\text{..}, \\boxed{..}, **..**, a final stop. */
function unwrap(source: string): string {
  let text = source;
  for (let before = ''; before !== text; ) {
    before = text;
    if (/(?<![.\\])[.。]$/.test(text)) text = text.slice(0, -1).trim();
    for (const pair of WRAPPERS) {
      const inside = pair.exec(text)?.[1];
      if (inside !== undefined) text = inside.trim();
    }
  }
  return text;
}

/** Each takes off one layer and needs one pass. */
const WRAPPERS = [
  /^\$([^$]*)\$$/s,
  /^\$\$([^$]*)\$\$$/s,
  /^\\\(([^$]*)\\\)$/s,
  /^\\\[([^$]*)\\\]$/s,
  /^\*\*([^*]*)\*\*$/s,
  /^\\(?:text|textbf|mathrm|textit|mathbf|boxed|textrm|mbox|fbox)\s*\{([^{}]*)\}$/s,
];

/** "(C)", "C", "C)", "C. 12", "\text{(C) }7": the letter. */
function choiceOf(text: string): string | undefined {
  const plain = text
    .replace(/\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}/g, '$1')
    .replace(/\\ |~|\*\*/g, ' ')
    .trim();
  // "(A) (B) (C)" chooses nothing.
  const letters = new Set([...plain.matchAll(/\b([A-J])[).:](?=\W|$)/g)].map(([, letter]) => letter));
  if (letters.size > 1) return undefined;
  const match =
    /^(?:option|choice)?\s*\(\s*([A-Ja-j])\s*\)(?:\s|:|$)/i.exec(plain) ??
    /^(?:[Oo]ption|[Cc]hoice)?\s*([A-J])\s*(?:[).:](?:\s|$)|$)/.exec(plain) ??
    /^\(\s*([A-J])\s*\)\S/.exec(plain);
  return match?.[1]?.toUpperCase();
}

/** Lower case, without LaTeX's dress, punctuation at the end and articles. */
function wording(text: string): string {
  return text
    .replace(/\\(?:text|textbf|mathrm|mathbf|textit|mbox|operatorname)\s*/g, '')
    .replace(/\\[,;:! ]|[{}$~]/g, ' ')
    .toLowerCase()
    .replace(/^(?:the|an?)\s+/, '')
    .replace(/[.,;:]+$/, '')
    .replace(/\s+/g, ' ')
    .trim();
}

/** Whether the answer is made of words: it then can only be compared as text. */
const isWords = (text: string): boolean => /\p{L}{2}/u.test(text) && !/\\(?:frac|sqrt|begin|left)/.test(text);

// --- one form for answers that mean the same ---

/** Writes \pm out as a list, inequalities as intervals, "x = 3" as 3. */
export function normalise(answer: Answer): Answer {
  switch (answer.kind) {
    case 'value':
      return expandSigns(answer.expr, (expr) => unitValue(expr, answer.unit));
    case 'relation':
      return relation(answer);
    case 'matrix':
      return { kind: 'matrix', rows: answer.rows.map((row) => row.map(normalise)) };
    case 'tuple':
      return { ...answer, items: answer.items.map(normalise) };
    default:
      return { kind: answer.kind, items: flatten(answer.items.map(normalise)) };
  }
}

/** A list inside a list is one list: "1, ±2". */
const flatten = (items: readonly Answer[]): Answer[] =>
  items.flatMap((item) => (item.kind === 'list' ? item.items : [item]));

function unitValue(expr: Expr, unit: string | undefined): Answer {
  if (unit === 'percent') return { kind: 'value', expr: { kind: 'percent', of: expr } };
  if (expr.kind === 'degrees') return { kind: 'value', expr: expr.of, unit: 'degree' };
  return { kind: 'value', expr, ...(unit !== undefined && { unit }) };
}

function expandSigns(expr: Expr, make: (expr: Expr) => Answer): Answer {
  if (!some(expr, (part) => part.kind === 'plusminus')) return make(expr);
  return { kind: 'list', items: [make(withSign(expr, 1)), make(withSign(expr, -1))] };
}

const withSign = (expr: Expr, upper: 1 | -1): Expr =>
  rewrite(expr, (part) => {
    if (part.kind !== 'plusminus') return part;
    const sign: Expr = { kind: 'number', value: rational(BigInt(part.sign * upper)) };
    return { kind: 'product', factors: [sign, part.of] };
  });

function relation(answer: Answer & { kind: 'relation' }): Answer {
  const { sides, signs } = answer;
  const last = sides[sides.length - 1]!;
  // x = 3, f(x) = x^2 and chains x = 6/2 = 3: the last side, if the first only names it.
  if (signs.every((sign) => sign === '=') && (signs.length > 1 || isName(sides[0]!)))
    return normalise({ kind: 'value', expr: last });
  if (signs.every((sign) => sign === '∈')) return normalise({ kind: 'value', expr: last });
  return asInterval(sides, signs) ?? answer;
}

/** x, x_1, f(x), f^{-1}(x), h'(t): the last three read as products of a function's customary letter and a variable. */
function isName(expr: Expr): boolean {
  if (expr.kind === 'symbol') return true;
  if (expr.kind !== 'product' || expr.factors.length !== 2) return false;
  const [head, argument] = expr.factors as [Expr, Expr];
  const name = head.kind === 'power' ? head.base : head;
  return name.kind === 'symbol' && /^[fghFGHPpqQT]'*$/.test(name.name) && argument.kind === 'symbol';
}

const FLIPPED: Readonly<Record<string, string>> = { '<': '>', '>': '<', '<=': '>=', '>=': '<=' };
const INFINITY: Expr = { kind: 'constant', name: 'infinity' };
const MINUS_INFINITY: Expr = {
  kind: 'product',
  factors: [{ kind: 'number', value: rational(-1n) }, INFINITY],
};

/** x > 3, 3 < x and 1 < x <= 2 as intervals; undefined where the variable does not stand alone. */
function asInterval(sides: readonly Expr[], signs: readonly string[]): Answer | undefined {
  if (signs.some((sign) => FLIPPED[sign] === undefined)) return undefined;
  const isConstant = (expr: Expr): boolean => symbolsOf(expr).size === 0;
  const [a, b, c] = sides as [Expr, Expr, Expr | undefined];
  const [first, second] = signs as [string, string | undefined];
  if (c === undefined) {
    if (a.kind !== 'symbol')
      return b.kind === 'symbol' && isConstant(a) ? asInterval([b, a], [FLIPPED[first]!]) : undefined;
    if (!isConstant(b)) return undefined;
    const closed = first.endsWith('=');
    return first.startsWith('>') ? interval(closed, b, INFINITY, false) : interval(false, MINUS_INFINITY, b, closed);
  }
  if (sides.length > 3 || b.kind !== 'symbol' || !isConstant(a) || !isConstant(c) || first[0] !== second![0])
    return undefined;
  if (first.startsWith('>')) return asInterval([c, b, a], [FLIPPED[second!]!, FLIPPED[first]!]);
  return interval(first.endsWith('='), a, c, second!.endsWith('='));
}
