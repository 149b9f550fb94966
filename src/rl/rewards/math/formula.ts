import { call, inBase, isProper, negative, number, prime, times } from './construct.js';
import { CLOSERS, type Cursor } from './cursor.js';
import { type Expr, FUNCTIONS } from './expression.js';
import { MAX_DEPTH } from './limits.js';
import { isInteger } from './rational.js';
import { type Token, Unreadable } from './tokens.js';
import { unitName } from './units.js';

/** Operators that begin another factor of a product. */
const FACTOR_OPENERS = new Set(['{', '(', '[', 'lfloor', 'lceil']);

/**
 * Reads a formula by recursive descent:
 *
 *     formula  = ["+"|"-"|"±"] product (("+"|"-"|"±") product)*
 *     product  = power (("*"|"/"|nothing) power)*
 *     power    = atom ("!" | "%" | "°" | "'" | "^" power | "_" base)*
 */
export function formula(c: Cursor): Expr {
  return c.deeper(() => {
    const terms = [term(c)];
    for (;;) {
      if (c.take('+')) terms.push(term(c));
      else if (c.isOperator('-', '±', '∓')) terms.push(term(c));
      else return terms.length === 1 ? terms[0]! : { kind: 'sum', terms };
    }
  });
}

/** A product with its sign. */
function term(c: Cursor): Expr {
  let minus = false;
  while (c.isOperator('-', '+')) minus = c.expect('-', '+') === '-' ? !minus : minus;
  if (c.isOperator('±', '∓')) {
    const sign = c.expect('±', '∓') === '±' ? 1 : -1;
    return { kind: 'plusminus', sign: minus ? (-sign as 1 | -1) : sign, of: product(c) };
  }
  return minus ? negative(product(c)) : product(c);
}

function product(c: Cursor): Expr {
  let left = power(c);
  for (;;) {
    if (c.take('*')) left = times(left, signed(c));
    else if (c.take('/')) left = { kind: 'quotient', over: left, under: signed(c) };
    else if (startsFactor(c)) left = times(left, power(c));
    else return left;
  }
}

/** 2 * -3 */
function signed(c: Cursor): Expr {
  let minus = false;
  while (c.isOperator('-', '+')) minus = c.expect('-', '+') === '-' ? !minus : minus;
  return minus ? negative(power(c)) : power(c);
}

function startsFactor(c: Cursor): boolean {
  const token = c.peek();
  if (!token || c.closers.has(c.at)) return false;
  if (token.kind === 'number') return afterCloser(c); // 3!7! and (x)2 are products, "2 3" and x2 are not
  if (token.kind === 'text') return isLetters(token) && unitName(token.text) === undefined;
  if (token.kind === 'command') return token.text === 'frac' || token.text === 'binom';
  if (token.kind !== 'operator') return true;
  return FACTOR_OPENERS.has(token.text) || (token.text === '|' && c.bars === 0);
}

function afterCloser(c: Cursor): boolean {
  const token = c.tokens[c.at - 1];
  return token?.kind === 'operator' && (token.text === '!' || token.text === ')' || token.text === '}');
}

function power(c: Cursor): Expr {
  return c.deeper(() => {
    let base = atom(c);
    for (let marks = 0; ; marks++) {
      if (marks > MAX_DEPTH) throw new Unreadable('too many signs follow one another');
      if (c.take('!')) base = call('factorial', base);
      else if (c.take('%')) base = { kind: 'percent', of: base };
      else if (c.take('°')) base = { kind: 'degrees', of: base };
      else if (c.take("'")) base = prime(base);
      else if (c.take('^')) base = raised(c, base);
      else if (c.take('_')) base = subscript(c, base);
      else return base;
    }
  });
}

/** x^2, x^{n+1}, x^-1; 90^\circ and f^{\prime}, whose exponents are no powers. */
function raised(c: Cursor, base: Expr): Expr {
  const braced = c.isOperator('{');
  const mark = c.tokens[braced ? c.at + 1 : c.at];
  if (mark?.kind === 'operator' && (mark.text === '°' || mark.text === "'")) {
    c.at += braced ? 2 : 1;
    if (braced) c.expect('}');
    return mark.text === '°' ? { kind: 'degrees', of: base } : prime(base);
  }
  return { kind: 'power', base, exponent: c.isOperator('-', '+') ? signed(c) : tight(c) };
}

/** The operand of ^, where x^2y is (x^2)y and 2^3^2 is 2^(3^2). */
function tight(c: Cursor): Expr {
  return c.deeper(() => {
    const base = atom(c);
    return c.take('^') ? { kind: 'power', base, exponent: tight(c) } : base;
  });
}

/** x_1 is a name; 1011_2 is a number in base 2. */
function subscript(c: Cursor, base: Expr): Expr {
  const start = c.at;
  const braced = c.take('{');
  if (!braced) c.at++;
  else while (!c.done() && !c.take('}')) c.at++;
  const inner = c.tokens.slice(braced ? start + 1 : start, braced ? c.at - 1 : c.at);
  const label = inner.map((token) => (token.kind === 'number' ? token.digits : token.text)).join('');
  if (base.kind === 'symbol') return { kind: 'symbol', name: `${base.name}_${label}` };
  if (base.kind === 'number') return inBase(base, label);
  throw new Unreadable('a subscript stands under something that is no name and no number');
}

function atom(c: Cursor): Expr {
  const token = c.peek();
  if (!token) throw new Unreadable('the formula ends too early');
  c.at++;
  switch (token.kind) {
    case 'number':
      return mixed(c, token);
    case 'symbol':
      if (token.text === 'e' || token.text === 'i') return { kind: 'constant', name: token.text };
      return { kind: 'symbol', name: token.text };
    case 'constant':
      return { kind: 'constant', name: token.text as 'pi' };
    case 'call':
      return functionCall(c, token.text);
    case 'text':
      return lettersOf(c, token);
    case 'command':
      return command(c, token.text);
    case 'operator':
      return enclosed(c, token.text);
  }
}

/** 3\frac12 and 3 1/2 are sums. */
function mixed(c: Cursor, token: Token & { kind: 'number' }): Expr {
  const whole: Expr = {
    kind: 'number',
    value: token.value,
    ...(token.decimals !== undefined && { decimals: token.decimals }),
  };
  if (!isInteger(token.value) || token.decimals !== undefined) return whole;
  const next = c.peek();
  if (next?.kind === 'command' && next.text === 'frac') {
    const start = c.at++;
    const fraction = command(c, 'frac');
    if (isProper(fraction)) return { kind: 'sum', terms: [whole, fraction] };
    c.at = start;
  }
  const [over, slash, under] = c.tokens.slice(c.at, c.at + 3);
  if (over?.kind === 'number' && slash?.kind === 'operator' && slash.text === '/' && under?.kind === 'number') {
    c.at += 3;
    const fraction: Expr = { kind: 'quotient', over: number(over.value), under: number(under.value) };
    if (isProper(fraction)) return { kind: 'sum', terms: [whole, fraction] };
    throw new Unreadable('two numbers stand side by side');
  }
  return whole;
}

/** Letters in a row are a product of variables; longer words are words. */
function lettersOf(c: Cursor, token: Token & { text: string }): Expr {
  if (/^(?:dollar|[€£¥])$/.test(token.text)) {
    c.currency = unitName(token.text) ?? token.text;
    return power(c);
  }
  if (!isLetters(token)) throw new Unreadable(`"${token.text.slice(0, 40)}" is a word, not mathematics`);
  const factors = [...token.text].map((name): Expr => {
    return name === 'e' || name === 'i' ? { kind: 'constant', name } : { kind: 'symbol', name };
  });
  return { kind: 'product', factors };
}

function command(c: Cursor, name: string): Expr {
  if (name !== 'frac' && name !== 'binom') throw new Unreadable(`\\${name} cannot stand in a formula`);
  const over = argument(c);
  const under = argument(c);
  return name === 'frac' ? { kind: 'quotient', over, under } : call('binom', over, under);
}

function argument(c: Cursor): Expr {
  return c.deeper(() => atom(c));
}

/** \sqrt[3]{x}, \log_2 x, \sin^2 x, \sin 2x, sin(x) */
function functionCall(c: Cursor, name: string): Expr {
  if (name === 'sqrt') {
    if (!c.take('[')) return call('sqrt', argument(c));
    const index = formula(c);
    c.expect(']');
    return call('root', argument(c), index);
  }
  let base: Expr | undefined;
  let exponent: Expr | undefined;
  for (;;) {
    if (c.take('_')) base = argument(c);
    else if (c.take('^')) exponent = c.isOperator('-') ? signed(c) : argument(c);
    else break;
  }
  const operand = c.isOperator('(', '{') ? power(c) : functionOperand(c);
  const inverse = exponent?.kind === 'number' && exponent.value.n === -1n && FUNCTIONS.has(`arc${name}`);
  if (inverse) return call(`arc${name}`, operand);
  const value = base ? call('log', operand, base) : call(name, operand);
  return exponent ? { kind: 'power', base: value, exponent } : value;
}

/** The product after a function's name, up to the next function or sign: \sin 2x \cos x. */
function functionOperand(c: Cursor): Expr {
  let left = c.isOperator('-') ? signed(c) : power(c);
  while (startsFactor(c) && c.peek()?.kind !== 'call' && !c.isOperator('(', '[')) left = times(left, power(c));
  return left;
}

function enclosed(c: Cursor, open: string): Expr {
  if (open === '|') {
    c.bars++;
    const inside = formula(c);
    c.expect('|');
    c.bars--;
    return call('abs', inside);
  }
  if (open === 'lfloor' || open === 'lceil') {
    const inside = formula(c);
    c.expect(open.replace('l', 'r'));
    return call(open === 'lfloor' ? 'floor' : 'ceil', inside);
  }
  const closers = CLOSERS[open];
  if (!closers || open === '\\{' || open === ']') throw new Unreadable(`"${open}" stands in a place without meaning`);
  const outer = c.bars;
  c.bars = 0;
  let inside = formula(c);
  if (c.take('choose')) inside = call('binom', inside, formula(c));
  c.bars = outer;
  c.expect(...closers);
  return inside;
}

const isLetters = (token: { readonly text: string }): boolean => /^[A-Za-z]{1,3}$/.test(token.text);
