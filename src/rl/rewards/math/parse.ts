import { INFINITY, interval, negative } from './construct.js';
import { Cursor } from './cursor.js';
import { type Answer, type Expr, some } from './expression.js';
import { formula } from './formula.js';
import { MAX_ITEMS } from './limits.js';
import { type Reading, type Token, tokenize, Unreadable } from './tokens.js';
import { unitName } from './units.js';

const RELATIONS = new Set(['=', '<', '>', '<=', '>=', '!=', '∈']);
const SEPARATORS = new Set([',', ';', 'and', 'or']);

/**
 * Reads an answer by recursive descent:
 *
 *     answer   = item ((","|";"|"and"|"or") item)*
 *     item     = piece ("∪" piece)*
 *     piece    = set | tuple or interval | matrix | formula (relation formula)* unit?
 *     formula  : see formula.ts
 *
 * @throws Unreadable with the reason, for text that is no answer of these forms
 */
export function parseAnswer(source: string, reading: Reading): Answer {
  const c = new Cursor(tokenize(source, reading));
  while (c.isOperator(',', ';', '.')) c.at++;
  if (c.done()) throw new Unreadable('there is nothing to read');
  const items = readItems(c, () => c.done());
  if (!c.done()) throw new Unreadable('something is left over after the answer');
  return items.length === 1 ? items[0]! : { kind: 'list', items };
}

function readItems(c: Cursor, atEnd: () => boolean): Answer[] {
  const items: Answer[] = [];
  for (;;) {
    items.push(item(c));
    if (items.length > MAX_ITEMS) throw new Unreadable(`there are more than ${MAX_ITEMS} elements`);
    if (atEnd()) return items;
    const token = c.peek();
    if (token?.kind !== 'operator' || !SEPARATORS.has(token.text)) throw new Unreadable('a separator is missing');
    while (c.isOperator(...SEPARATORS)) c.at++; // "1, 2, and 3", a comma at the end
    if (atEnd()) return items;
  }
}

function item(c: Cursor): Answer {
  return c.deeper(() => {
    const parts = [piece(c)];
    while (c.take('∪')) parts.push(piece(c));
    return parts.length === 1 ? parts[0]! : { kind: 'union', items: parts };
  });
}

function piece(c: Cursor): Answer {
  const special = collection(c);
  if (special) {
    // (x, y) = (1, 2) and A = {1}: what stands on the left only names the answer.
    if (special.kind === 'tuple' && (c.take('=') || c.take('∈'))) return piece(c);
    return special;
  }
  c.currency = undefined;
  const sides = [formula(c)];
  const signs: string[] = [];
  for (let token = c.peek(); token?.kind === 'operator' && RELATIONS.has(token.text); token = c.peek()) {
    c.at++;
    const right = token.text === '=' || token.text === '∈' ? collection(c) : undefined;
    if (right) return right;
    signs.push(token.text);
    sides.push(formula(c));
  }
  const unit = readUnit(c, sides[sides.length - 1]!) ?? c.currency;
  if (signs.length > 0) return { kind: 'relation', sides, signs };
  return { kind: 'value', expr: sides[0]!, ...(unit !== undefined && { unit }) };
}

/** Sets, tuples, intervals, matrices; undefined where a formula starts. */
function collection(c: Cursor): Answer | undefined {
  if (c.isOperator('\\{')) return set(c);
  if (c.isCommand('emptyset')) {
    c.at++;
    return { kind: 'set', items: [] };
  }
  if (c.isCommand('begin matrix')) return matrix(c);
  if (c.isCommand('mathbb R')) {
    c.at++;
    return interval(false, negative(INFINITY), INFINITY, false);
  }
  if (!c.isOperator('(', '[', ']')) return undefined;
  const bracket = c.brackets.get(c.at);
  return bracket?.listed ? tuple(c, bracket.close) : undefined;
}

function tuple(c: Cursor, close: number): Answer {
  const open = c.expect('(', '[', ']');
  const items = readItems(c, () => c.at === close);
  const closed = c.expect(')', ']', '[');
  return { kind: 'tuple', open: open === '[' ? '[' : '(', close: closed === ']' ? ']' : ')', items };
}

/** {1, 2} or {x : condition}, which stands for its condition. */
function set(c: Cursor): Answer {
  c.expect('\\{');
  if (c.take('\\}')) return { kind: 'set', items: [] };
  const start = c.at;
  const builder = builderAt(c, start);
  if (builder !== undefined) {
    c.at = builder + 1;
    const condition = item(c);
    c.expect('\\}');
    return condition;
  }
  const items = readItems(c, () => c.isOperator('\\}'));
  c.expect('\\}');
  return { kind: 'set', items };
}

/** Where the bar or colon of {x | ..} stands: right after a name, or after "x ∈ R". */
function builderAt(c: Cursor, start: number): number | undefined {
  for (let i = start + 1; i < Math.min(start + 4, c.tokens.length); i++) {
    const token = c.tokens[i]!;
    if (token.kind === 'operator' && (token.text === '|' || token.text === ':')) {
      return c.tokens[start]!.kind === 'symbol' ? i : undefined;
    }
  }
  return undefined;
}

function matrix(c: Cursor): Answer {
  c.at++;
  const rows: Answer[][] = [[]];
  while (!c.isCommand('end matrix')) {
    if (c.done()) throw new Unreadable('a matrix has no end');
    if (c.take('\\\\')) rows.push([]);
    else if (!c.take('&')) rows[rows.length - 1]!.push(item(c));
    if (rows.reduce((sum, row) => sum + row.length, 0) > MAX_ITEMS) throw new Unreadable('a matrix is too large');
  }
  c.at++;
  return { kind: 'matrix', rows: rows.filter((row) => row.length > 0) };
}

/** "cm", "\text{ square meters}", "cm^2", "miles per hour" at the end of an item; formulas without numbers have none. */
function readUnit(c: Cursor, expr: Expr): string | undefined {
  const start = c.at;
  let words = 0;
  let unit: string | undefined;
  for (let token = c.peek(); token && inUnit(c, token, words > 0, start); token = c.peek()) {
    c.at++;
    // Compound units are dropped without comparing them.
    unit = words === 0 && token.kind === 'text' ? unitName(token.text) : undefined;
    if (token.kind === 'text') words++;
  }
  if (words > 0 && !some(expr, (part) => part.kind === 'number' || part.kind === 'constant')) {
    throw new Unreadable('words stand where a number is expected');
  }
  return unit;
}

/** A unit starts with a word; then come exponents, slashes and the letters of other units. */
function inUnit(c: Cursor, token: Token, started: boolean, start: number): boolean {
  if (token.kind === 'text' || !started) return token.kind === 'text';
  if (token.kind === 'operator' && token.text === '}') {
    return c.tokens.slice(start, c.at).some((before) => before.kind === 'operator' && before.text === '{');
  }
  if (token.kind === 'operator') return /^[/^*{\-']$/.test(token.text);
  return token.kind === 'number' || token.kind === 'symbol';
}
