import { type Answer, type Expr, FUNCTIONS, some } from './expression.js';
import { MAX_DEPTH, MAX_ITEMS } from './limits.js';
import { isInteger, type Rational, rational } from './rational.js';
import { type Reading, type Token, tokenize, Unreadable } from './tokens.js';
import { unitName } from './units.js';

const number = (value: Rational): Expr => ({ kind: 'number', value });
const MINUS_ONE = number(rational(-1n));
const negative = (expr: Expr): Expr =>
  expr.kind === 'number'
    ? { ...expr, value: { n: -expr.value.n, d: expr.value.d } }
    : { kind: 'product', factors: [MINUS_ONE, expr] };
const call = (name: string, ...args: Expr[]): Expr => ({ kind: 'call', name, args });

const RELATIONS = new Set(['=', '<', '>', '<=', '>=', '!=', '∈']);
/** Operators that begin another factor of a product. */
const FACTOR_OPENERS = new Set(['{', '(', '[', 'lfloor', 'lceil']);
const SEPARATORS = new Set([',', ';', 'and', 'or']);
const CLOSERS: Readonly<Record<string, readonly string[]>> = {
  '(': [')', ']'],
  '[': [')', ']'],
  ']': ['[', ']'],
  '{': ['}'],
  '\\{': ['\\}'],
};

/**
 * Reads an answer by recursive descent:
 *
 *     answer   = item ((","|";"|"and"|"or") item)*
 *     item     = piece ("∪" piece)*
 *     piece    = set | tuple or interval | matrix | formula (relation formula)* unit?
 *     formula  = ["+"|"-"|"±"] product (("+"|"-"|"±") product)*
 *     product  = power (("*"|"/"|nothing) power)*
 *     power    = atom ("!" | "%" | "°" | "'" | "^" power | "_" base)*
 *
 * @throws Unreadable with the reason, for text that is no answer of these forms
 */
export function parseAnswer(source: string, reading: Reading): Answer {
  return new Parser(tokenize(source, reading)).answer();
}

class Parser {
  private at = 0;
  private depth = 0;
  /** Inside |..|, where a bar closes. */
  private bars = 0;
  /** For each opening round or square bracket: where it closes, and whether a comma stands directly inside. */
  private readonly brackets: ReadonlyMap<number, { readonly close: number; readonly listed: boolean }>;

  private readonly closers: ReadonlySet<number>;
  /** The currency before a number: "$5". */
  private currency: string | undefined;

  constructor(private readonly tokens: readonly Token[]) {
    this.brackets = matchBrackets(tokens);
    this.closers = new Set([...this.brackets.values()].map((bracket) => bracket.close));
  }

  answer(): Answer {
    while (this.isOperator(',', ';', '.')) this.at++;
    if (this.done()) throw new Unreadable('there is nothing to read');
    const items = this.items(() => this.done());
    if (!this.done()) throw new Unreadable('something is left over after the answer');
    return items.length === 1 ? items[0]! : { kind: 'list', items };
  }

  // --- looking at tokens ---

  private done = (): boolean => this.at >= this.tokens.length;
  private peek = (): Token | undefined => this.tokens[this.at];

  private isOperator(...texts: string[]): boolean {
    const token = this.peek();
    return token?.kind === 'operator' && texts.includes(token.text);
  }

  private isCommand(text: string): boolean {
    const token = this.peek();
    return token?.kind === 'command' && token.text === text;
  }

  private take(text: string): boolean {
    if (!this.isOperator(text)) return false;
    this.at++;
    return true;
  }

  private expect(...texts: string[]): string {
    const token = this.peek();
    if (!this.isOperator(...texts)) throw new Unreadable(`${texts.join(' or ')} is missing`);
    this.at++;
    return (token as { text: string }).text;
  }

  private deeper<T>(read: () => T): T {
    if (++this.depth > MAX_DEPTH) throw new Unreadable('the answer is nested too deeply');
    const result = read();
    this.depth--;
    return result;
  }

  // --- answers ---

  private items(atEnd: () => boolean): Answer[] {
    const items: Answer[] = [];
    for (;;) {
      items.push(this.item());
      if (items.length > MAX_ITEMS) throw new Unreadable(`there are more than ${MAX_ITEMS} elements`);
      if (atEnd()) return items;
      const token = this.peek();
      if (token?.kind !== 'operator' || !SEPARATORS.has(token.text)) throw new Unreadable('a separator is missing');
      while (this.isOperator(...SEPARATORS)) this.at++; // "1, 2, and 3", a comma at the end
      if (atEnd()) return items;
    }
  }

  private item(): Answer {
    return this.deeper(() => {
      const parts = [this.piece()];
      while (this.take('∪')) parts.push(this.piece());
      return parts.length === 1 ? parts[0]! : { kind: 'union', items: parts };
    });
  }

  private piece(): Answer {
    const special = this.collection();
    if (special) {
      // (x, y) = (1, 2) and A = {1}: what stands on the left only names the answer.
      if (special.kind === 'tuple' && (this.take('=') || this.take('∈'))) return this.piece();
      return special;
    }
    this.currency = undefined;
    const sides = [this.formula()];
    const signs: string[] = [];
    for (let token = this.peek(); token?.kind === 'operator' && RELATIONS.has(token.text); token = this.peek()) {
      this.at++;
      const right = token.text === '=' || token.text === '∈' ? this.collection() : undefined;
      if (right) return right;
      signs.push(token.text);
      sides.push(this.formula());
    }
    const unit = this.unit(sides[sides.length - 1]!) ?? this.currency;
    if (signs.length > 0) return { kind: 'relation', sides, signs };
    return { kind: 'value', expr: sides[0]!, ...(unit !== undefined && { unit }) };
  }

  /** Sets, tuples, intervals, matrices; undefined where a formula starts. */
  private collection(): Answer | undefined {
    if (this.isOperator('\\{')) return this.set();
    if (this.isCommand('emptyset')) {
      this.at++;
      return { kind: 'set', items: [] };
    }
    if (this.isCommand('begin matrix')) return this.matrix();
    if (this.isCommand('mathbb R')) {
      this.at++;
      return interval(false, negative(INFINITY), INFINITY, false);
    }
    if (!this.isOperator('(', '[', ']')) return undefined;
    const bracket = this.brackets.get(this.at);
    return bracket?.listed ? this.tuple(bracket.close) : undefined;
  }

  private tuple(close: number): Answer {
    const open = this.expect('(', '[', ']');
    const items = this.items(() => this.at === close);
    const closed = this.expect(')', ']', '[');
    return { kind: 'tuple', open: open === '[' ? '[' : '(', close: closed === ']' ? ']' : ')', items };
  }

  /** {1, 2} or {x : condition}, which stands for its condition. */
  private set(): Answer {
    this.expect('\\{');
    if (this.take('\\}')) return { kind: 'set', items: [] };
    const start = this.at;
    const builder = this.builder(start);
    if (builder !== undefined) {
      this.at = builder + 1;
      const condition = this.item();
      this.expect('\\}');
      return condition;
    }
    const items = this.items(() => this.isOperator('\\}'));
    this.expect('\\}');
    return { kind: 'set', items };
  }

  /** Where the bar or colon of {x | ..} stands: right after a name, or after "x ∈ R". */
  private builder(start: number): number | undefined {
    for (let i = start + 1; i < Math.min(start + 4, this.tokens.length); i++) {
      const token = this.tokens[i]!;
      if (token.kind === 'operator' && (token.text === '|' || token.text === ':')) {
        return this.tokens[start]!.kind === 'symbol' ? i : undefined;
      }
    }
    return undefined;
  }

  private matrix(): Answer {
    this.at++;
    const rows: Answer[][] = [[]];
    while (!this.isCommand('end matrix')) {
      if (this.done()) throw new Unreadable('a matrix has no end');
      if (this.take('\\\\')) rows.push([]);
      else if (!this.take('&')) rows[rows.length - 1]!.push(this.item());
      if (rows.reduce((sum, row) => sum + row.length, 0) > MAX_ITEMS) throw new Unreadable('a matrix is too large');
    }
    this.at++;
    return { kind: 'matrix', rows: rows.filter((row) => row.length > 0) };
  }

  /** "cm", "\text{ square meters}", "cm^2", "miles per hour" at the end of an item; formulas without numbers have none. */
  private unit(expr: Expr): string | undefined {
    const start = this.at;
    let words = 0;
    let unit: string | undefined;
    for (let token = this.peek(); token && this.inUnit(token, words > 0, start); token = this.peek()) {
      this.at++;
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
  private inUnit(token: Token, started: boolean, start: number): boolean {
    if (token.kind === 'text' || !started) return token.kind === 'text';
    if (token.kind === 'operator' && token.text === '}') {
      return this.tokens.slice(start, this.at).some((before) => before.kind === 'operator' && before.text === '{');
    }
    if (token.kind === 'operator') return /^[/^*{\-']$/.test(token.text);
    return token.kind === 'number' || token.kind === 'symbol';
  }

  // --- formulas ---

  private formula(): Expr {
    return this.deeper(() => {
      const terms = [this.term()];
      for (;;) {
        if (this.take('+')) terms.push(this.term());
        else if (this.isOperator('-', '±', '∓')) terms.push(this.term());
        else return terms.length === 1 ? terms[0]! : { kind: 'sum', terms };
      }
    });
  }

  /** A product with its sign. */
  private term(): Expr {
    let minus = false;
    while (this.isOperator('-', '+')) minus = this.expect('-', '+') === '-' ? !minus : minus;
    if (this.isOperator('±', '∓')) {
      const sign = this.expect('±', '∓') === '±' ? 1 : -1;
      return { kind: 'plusminus', sign: minus ? (-sign as 1 | -1) : sign, of: this.product() };
    }
    return minus ? negative(this.product()) : this.product();
  }

  private product(): Expr {
    let left = this.power();
    for (;;) {
      if (this.take('*')) left = times(left, this.signed());
      else if (this.take('/')) left = { kind: 'quotient', over: left, under: this.signed() };
      else if (this.startsFactor()) left = times(left, this.power());
      else return left;
    }
  }

  /** 2 * -3 */
  private signed(): Expr {
    let minus = false;
    while (this.isOperator('-', '+')) minus = this.expect('-', '+') === '-' ? !minus : minus;
    return minus ? negative(this.power()) : this.power();
  }

  private startsFactor(): boolean {
    const token = this.peek();
    if (!token || this.closers.has(this.at)) return false;
    if (token.kind === 'number') return this.afterCloser(); // 3!7! and (x)2 are products, "2 3" and x2 are not
    if (token.kind === 'text') return isLetters(token) && unitName(token.text) === undefined;
    if (token.kind === 'command') return token.text === 'frac' || token.text === 'binom';
    if (token.kind !== 'operator') return true;
    return FACTOR_OPENERS.has(token.text) || (token.text === '|' && this.bars === 0);
  }

  private afterCloser(): boolean {
    const token = this.tokens[this.at - 1];
    return token?.kind === 'operator' && (token.text === '!' || token.text === ')' || token.text === '}');
  }

  private power(): Expr {
    return this.deeper(() => {
      let base = this.atom();
      for (let marks = 0; ; marks++) {
        if (marks > MAX_DEPTH) throw new Unreadable('too many signs follow one another');
        if (this.take('!')) base = call('factorial', base);
        else if (this.take('%')) base = { kind: 'percent', of: base };
        else if (this.take('°')) base = { kind: 'degrees', of: base };
        else if (this.take("'")) base = prime(base);
        else if (this.take('^')) base = this.exponent(base);
        else if (this.take('_')) base = this.subscript(base);
        else return base;
      }
    });
  }

  /** x^2, x^{n+1}, x^-1; 90^\circ and f^{\prime}, whose exponents are no powers. */
  private exponent(base: Expr): Expr {
    const braced = this.isOperator('{');
    const mark = this.tokens[braced ? this.at + 1 : this.at];
    if (mark?.kind === 'operator' && (mark.text === '°' || mark.text === "'")) {
      this.at += braced ? 2 : 1;
      if (braced) this.expect('}');
      return mark.text === '°' ? { kind: 'degrees', of: base } : prime(base);
    }
    return { kind: 'power', base, exponent: this.isOperator('-', '+') ? this.signed() : this.tight() };
  }

  /** The operand of ^, where x^2y is (x^2)y and 2^3^2 is 2^(3^2). */
  private tight(): Expr {
    return this.deeper(() => {
      const base = this.atom();
      return this.take('^') ? { kind: 'power', base, exponent: this.tight() } : base;
    });
  }

  /** x_1 is a name; 1011_2 is a number in base 2. */
  private subscript(base: Expr): Expr {
    const start = this.at;
    const braced = this.take('{');
    if (!braced) this.at++;
    else while (!this.done() && !this.take('}')) this.at++;
    const inner = this.tokens.slice(braced ? start + 1 : start, braced ? this.at - 1 : this.at);
    const label = inner.map((token) => (token.kind === 'number' ? token.digits : token.text)).join('');
    if (base.kind === 'symbol') return { kind: 'symbol', name: `${base.name}_${label}` };
    if (base.kind === 'number') return inBase(base, label);
    throw new Unreadable('a subscript stands under something that is no name and no number');
  }

  private atom(): Expr {
    const token = this.peek();
    if (!token) throw new Unreadable('the formula ends too early');
    this.at++;
    switch (token.kind) {
      case 'number':
        return this.mixed(token);
      case 'symbol':
        if (token.text === 'e' || token.text === 'i') return { kind: 'constant', name: token.text };
        return { kind: 'symbol', name: token.text };
      case 'constant':
        return { kind: 'constant', name: token.text as 'pi' };
      case 'call':
        return this.call(token.text);
      case 'text':
        return this.lettersOf(token);
      case 'command':
        return this.command(token.text);
      case 'operator':
        return this.enclosed(token.text);
    }
  }

  /** 3\frac12 and 3 1/2 are sums. */
  private mixed(token: Token & { kind: 'number' }): Expr {
    const whole: Expr = {
      kind: 'number',
      value: token.value,
      ...(token.decimals !== undefined && { decimals: token.decimals }),
    };
    if (!isInteger(token.value) || token.decimals !== undefined) return whole;
    const next = this.peek();
    if (next?.kind === 'command' && next.text === 'frac') {
      const start = this.at++;
      const fraction = this.command('frac');
      if (isProper(fraction)) return { kind: 'sum', terms: [whole, fraction] };
      this.at = start;
    }
    const [over, slash, under] = this.tokens.slice(this.at, this.at + 3);
    if (over?.kind === 'number' && slash?.kind === 'operator' && slash.text === '/' && under?.kind === 'number') {
      this.at += 3;
      const fraction: Expr = { kind: 'quotient', over: number(over.value), under: number(under.value) };
      if (isProper(fraction)) return { kind: 'sum', terms: [whole, fraction] };
      throw new Unreadable('two numbers stand side by side');
    }
    return whole;
  }

  /** Letters in a row are a product of variables; longer words are words. */
  private lettersOf(token: Token & { text: string }): Expr {
    if (/^(?:dollar|[€£¥])$/.test(token.text)) {
      this.currency = unitName(token.text) ?? token.text;
      return this.power();
    }
    if (!isLetters(token)) throw new Unreadable(`"${token.text.slice(0, 40)}" is a word, not mathematics`);
    const factors = [...token.text].map((name): Expr => {
      return name === 'e' || name === 'i' ? { kind: 'constant', name } : { kind: 'symbol', name };
    });
    return { kind: 'product', factors };
  }

  private command(name: string): Expr {
    if (name !== 'frac' && name !== 'binom') throw new Unreadable(`\\${name} cannot stand in a formula`);
    const over = this.argument();
    const under = this.argument();
    return name === 'frac' ? { kind: 'quotient', over, under } : call('binom', over, under);
  }

  private argument(): Expr {
    return this.deeper(() => this.atom());
  }

  /** \sqrt[3]{x}, \log_2 x, \sin^2 x, \sin 2x, sin(x) */
  private call(name: string): Expr {
    if (name === 'sqrt') {
      if (!this.take('[')) return call('sqrt', this.argument());
      const index = this.formula();
      this.expect(']');
      return call('root', this.argument(), index);
    }
    let base: Expr | undefined;
    let exponent: Expr | undefined;
    for (;;) {
      if (this.take('_')) base = this.argument();
      else if (this.take('^')) exponent = this.isOperator('-') ? this.signed() : this.argument();
      else break;
    }
    const operand = this.isOperator('(', '{') ? this.power() : this.operand();
    const inverse = exponent?.kind === 'number' && exponent.value.n === -1n && FUNCTIONS.has(`arc${name}`);
    if (inverse) return call(`arc${name}`, operand);
    const value = base ? call('log', operand, base) : call(name, operand);
    return exponent ? { kind: 'power', base: value, exponent } : value;
  }

  /** The product after a function's name, up to the next function or sign: \sin 2x \cos x. */
  private operand(): Expr {
    let left = this.isOperator('-') ? this.signed() : this.power();
    while (this.startsFactor() && this.peek()?.kind !== 'call' && !this.isOperator('(', '['))
      left = times(left, this.power());
    return left;
  }

  private enclosed(open: string): Expr {
    if (open === '|') {
      this.bars++;
      const inside = this.formula();
      this.expect('|');
      this.bars--;
      return call('abs', inside);
    }
    if (open === 'lfloor' || open === 'lceil') {
      const inside = this.formula();
      this.expect(open.replace('l', 'r'));
      return call(open === 'lfloor' ? 'floor' : 'ceil', inside);
    }
    const closers = CLOSERS[open];
    if (!closers || open === '\\{' || open === ']') throw new Unreadable(`"${open}" stands in a place without meaning`);
    const outer = this.bars;
    this.bars = 0;
    let inside = this.formula();
    if (this.take('choose')) inside = call('binom', inside, this.formula());
    this.bars = outer;
    this.expect(...closers);
    return inside;
  }
}

const INFINITY: Expr = { kind: 'constant', name: 'infinity' };

/** An interval as the tuple it is written as. */
export function interval(closedLow: boolean, low: Expr, high: Expr, closedHigh: boolean): Answer {
  const items: Answer[] = [
    { kind: 'value', expr: low },
    { kind: 'value', expr: high },
  ];
  return { kind: 'tuple', open: closedLow ? '[' : '(', close: closedHigh ? ']' : ')', items };
}

const isLetters = (token: { readonly text: string }): boolean => /^[A-Za-z]{1,3}$/.test(token.text);

function times(left: Expr, right: Expr): Expr {
  return left.kind === 'product'
    ? { kind: 'product', factors: [...left.factors, right] }
    : { kind: 'product', factors: [left, right] };
}

function prime(base: Expr): Expr {
  if (base.kind !== 'symbol') throw new Unreadable('a prime stands after something that is no name');
  return { kind: 'symbol', name: `${base.name}'` };
}

/** Whether a fraction has whole positive parts and lies below one, as in a mixed number. */
function isProper(fraction: Expr): boolean {
  if (fraction.kind !== 'quotient') return false;
  const { over, under } = fraction;
  if (over.kind !== 'number' || under.kind !== 'number') return false;
  return isInteger(over.value) && isInteger(under.value) && over.value.n > 0n && over.value.n < under.value.n;
}

/** The value of decimal digits read in another base. */
function inBase(base: Expr & { kind: 'number' }, label: string): Expr {
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

/** Pairs of round and square brackets, mixed as in [1, 2), and the French ]1, 2[. */
function matchBrackets(tokens: readonly Token[]): Map<number, { close: number; listed: boolean }> {
  const pairs = new Map<number, { close: number; listed: boolean }>();
  const open: { at: number; text: string; listed: boolean }[] = [];
  tokens.forEach((token, at) => {
    if (token.kind !== 'operator') return;
    const top = open[open.length - 1];
    const { text } = token;
    const closes = top !== undefined && CLOSERS[top.text]!.includes(text);
    const french =
      text === '[' && top?.text !== ']' && top?.listed && (at === tokens.length - 1 || isUnion(tokens[at + 1]!));
    if (closes || french) {
      open.pop();
      pairs.set(top!.at, { close: at, listed: top!.listed });
    } else if (CLOSERS[text]) open.push({ at, text, listed: false });
    else if ((text === ',' || text === ';') && top) top.listed = true;
  });
  return pairs;
}

const isUnion = (token: Token): boolean => token.kind === 'operator' && (token.text === '∪' || token.text === '∩');
