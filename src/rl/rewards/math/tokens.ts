import { FUNCTIONS } from './expression.js';
import { MAX_DEPTH, MAX_DIGITS } from './limits.js';
import { type Rational, rational } from './rational.js';

/** A piece of an answer. `spaced`: white space stood before it. */
export type Token = { readonly spaced: boolean } & (
  | { readonly kind: 'number'; readonly value: Rational; readonly decimals?: number; readonly digits: string }
  | { readonly kind: 'symbol' | 'call' | 'constant' | 'text' | 'operator' | 'command'; readonly text: string }
);

/** Thrown inside the verifier for text that is no answer it can read; the message says why. */
export class Unreadable extends Error {}

/** LaTeX commands that only set type or space. */
const IGNORED = new Set(
  `left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr displaystyle textstyle limits quad qquad enspace
  thinspace hfill mleft mright , ; : ! ( ) [ ] space nolimits boldsymbol`.split(/\s+/),
);
/** Commands around a letter or group that change its looks. */
const LOOKS = new Set(
  'mathbf mathit mathsf mathcal vec overrightarrow hat widehat boxed fbox bm ensuremath'.split(' '),
);
const TEXTS = new Set('text mathrm textrm textbf textit textnormal mbox hbox operatorname rm texttt textsf'.split(' '));
// biome-ignore format: a table
const OPERATORS: Readonly<Record<string, string>> = {
  cdot: '*', times: '*', ast: '*', div: '/', pm: '±', mp: '∓', le: '<=', leq: '<=', leqslant: '<=', lt: '<',
  ge: '>=', geq: '>=', geqslant: '>=', gt: '>', ne: '!=', neq: '!=', in: '∈', cup: '∪', bigcup: '∪', cap: '∩',
  lvert: '|', rvert: '|', vert: '|', mid: '|', '{': '\\{', '}': '\\}', lbrace: '\\{', rbrace: '\\}', '%': '%',
  degree: '°', circ: '°', prime: "'", '\\': '\\\\', langle: '(', rangle: ')', lparen: '(', rparen: ')', lbrack: '[', rbrack: ']',
  approx: '=', equiv: '=', colon: ':', to: '→', rightarrow: '→', Rightarrow: '→', implies: '→', setminus: '∖',
  backslash: '∖', choose: 'choose', land: 'and', wedge: 'and', lor: 'or', vee: 'or',
};
// biome-ignore format: a table
const ALIASES: Readonly<Record<string, string>> = {
  dfrac: 'frac', tfrac: 'frac', cfrac: 'frac', nicefrac: 'frac', sfrac: 'frac', dbinom: 'binom', tbinom: 'binom', varnothing: 'emptyset',
  asin: 'arcsin', acos: 'arccos', atan: 'arctan', infty: 'infinity', inf: 'infinity', infinity: 'infinity',
  varphi: 'phi', varepsilon: 'epsilon', vartheta: 'theta',
};
const CONSTANTS = new Set(['pi', 'infinity']);
// biome-ignore format: a table
const PLAIN: Readonly<Record<string, string>> = {
  '−': '-', '–': '-', '×': '*', '·': '*', '⋅': '*', '∗': '*', '÷': '/', '≤': '<=', '≥': '>=', '≠': '!=', '±': '±', '∓': '∓',
  '∪': '∪', '∩': '∩', '∈': '∈', '°': '°', '≈': '=', '（': '(', '）': ')', '，': ',', '；': ';', '：': ':', '＝': '=', '。': '.',
  '％': '%', '⟨': '(', '⟩': ')', '′': "'",
};
const SYMBOLS: Readonly<Record<string, string>> = { π: 'pi', '∞': 'infinity', '∅': 'emptyset', '√': 'sqrt' };
const SUPERSCRIPTS = '⁰¹²³⁴⁵⁶⁷⁸⁹';
const FRACTIONS: Readonly<Record<string, string>> = { '½': '1/2', '⅓': '1/3', '⅔': '2/3', '¼': '1/4', '¾': '3/4' };

const NUMBER = /(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4}(?![\w.]))?/y;
const GROUPED = /\d{1,3}(?:(?:\{,\}|\\,|\\!,|\{,\\!\}|,\\!|\\ |~| )\d{3})+(?!\d)/y;
const GROUPED_BY_COMMAS = /\d{1,3}(?:,\d{3})+(?![\d])/y;
const LETTERS = /[A-Za-z]+/y;
const OTHER_WORD = /\p{L}+/uy;
const COMMAND = /\\(?:[A-Za-z]+|[^A-Za-z])/y;
const GROUP = /\s*\{([^{}]*)\}/y;
const REPEATING = /(\d*)\.(\d*)\\(?:overline|bar|dot)\s*\{?(\d+)\}?/y;

const matchAt = (pattern: RegExp, text: string, at: number): RegExpExecArray | null => {
  pattern.lastIndex = at;
  return pattern.exec(text);
};

/** The value of digits with an optional point and exponent. */
function decimalToken(source: string, spaced: boolean): Token {
  const [mantissa = '', exponent = '0'] = source.toLowerCase().split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  const digits = whole + fraction;
  const scale = Number(exponent) - fraction.length;
  if (digits.length > MAX_DIGITS || Math.abs(scale) > MAX_DIGITS) throw new Unreadable('a number has too many digits');
  const value =
    scale >= 0 ? rational(BigInt(digits) * 10n ** BigInt(scale)) : rational(BigInt(digits), 10n ** BigInt(-scale));
  const decimals = mantissa.includes('.') ? Math.max(0, -scale) : undefined;
  return { kind: 'number', value, digits: mantissa, spaced, ...(decimals !== undefined && { decimals }) };
}

/** 0.1\overline{6} = (16 - 1) / 90. */
function repeatingToken([, whole = '', lead = '', cycle = '']: RegExpExecArray, spaced: boolean): Token {
  if (whole.length + lead.length + cycle.length > MAX_DIGITS) throw new Unreadable('a number has too many digits');
  const all = BigInt(whole + lead + cycle) - BigInt(whole + lead || '0');
  const value = rational(all, (10n ** BigInt(cycle.length) - 1n) * 10n ** BigInt(lead.length));
  return { kind: 'number', value, digits: `${whole}.${lead}${cycle}`, spaced };
}

/** How an answer's commas are read: `1,000` as a thousand or as two numbers. */
export interface Reading {
  readonly groupDigits: boolean;
}

/** Splits LaTeX or plain mathematics into tokens, in one pass. @throws Unreadable */
export function tokenize(source: string, reading: Reading): Token[] {
  return new Tokenizer(source, reading).run();
}

class Tokenizer {
  private at = 0;
  private spaced = false;
  private readonly tokens: Token[] = [];
  /** Arguments of \frac or \binom still to come; a bare one is a single digit: \frac34. */
  private bare = 0;
  private readonly outer: number[] = [];

  constructor(
    private readonly source: string,
    private readonly reading: Reading,
  ) {}

  run(): Token[] {
    while (this.at < this.source.length) {
      const char = this.source[this.at]!;
      if (/\s|~|\u200b|\ufeff/.test(char)) this.skip(1);
      else if (char === '$') this.skip(1);
      else if (char === '\\') this.command();
      else if (/[\d.]/.test(char) && this.number()) continue;
      else if (/[A-Za-z]/.test(char)) this.letters();
      else this.other(char);
    }
    return this.tokens;
  }

  private skip(count: number): void {
    this.at += count;
    this.spaced = true;
  }

  private push(token: Token, length: number): void {
    this.tokens.push(token);
    this.at += length;
    this.spaced = false;
  }

  private put(kind: 'symbol' | 'call' | 'constant' | 'text' | 'operator' | 'command', text: string, length: number) {
    if (this.bare > 0 && text !== '{') this.bare--;
    this.push({ kind, text, spaced: this.spaced }, length);
  }

  private number(): boolean {
    if (this.bare > 0 && /\d/.test(this.source[this.at]!)) {
      this.bare--;
      this.push(decimalToken(this.source[this.at]!, this.spaced), 1);
      return true;
    }
    const repeating = matchAt(REPEATING, this.source, this.at);
    if (repeating) {
      this.push(repeatingToken(repeating, this.spaced), repeating[0].length);
      return true;
    }
    const grouped =
      matchAt(GROUPED, this.source, this.at) ??
      (this.reading.groupDigits ? matchAt(GROUPED_BY_COMMAS, this.source, this.at) : null);
    const length = grouped?.[0].length ?? 0;
    const rest = grouped ? (matchAt(/\.\d+/y, this.source, this.at + length)?.[0] ?? '') : '';
    const plain = grouped ? grouped[0].replace(/\D/g, '') + rest : matchAt(NUMBER, this.source, this.at)?.[0];
    if (plain === undefined) return false;
    // The comma before 000 was one of thousands.
    if (!this.reading.groupDigits && /^0\d/.test(plain)) throw new Unreadable('a number starts with a zero');
    this.push(decimalToken(plain, this.spaced), grouped ? length + rest.length : plain.length);
    return true;
  }

  private command(): void {
    const match = matchAt(COMMAND, this.source, this.at);
    if (!match) throw new Unreadable('the text ends in a backslash');
    const length = match[0].length;
    const raw = match[0].slice(1);
    const name = ALIASES[raw] ?? raw;
    if (raw === ' ' || IGNORED.has(raw) || LOOKS.has(raw)) this.skip(length);
    else if (/^(?:hspace|vspace|phantom|label|tag|color|textcolor)$/.test(raw))
      this.skip(length + this.group(length).length);
    else if (TEXTS.has(raw)) this.text(length);
    else if (name === 'mathbb') this.blackboard(length);
    else if (raw === 'begin' || raw === 'end') this.environment(raw, length);
    else if (raw === '$') this.put('text', 'dollar', length);
    else if (OPERATORS[raw] !== undefined) this.put('operator', OPERATORS[raw], length);
    else if (name === 'frac' || name === 'binom') {
      this.put('command', name, length);
      this.bare = 2;
    } else if (name === 'emptyset') this.put('command', name, length);
    else if (/^[lr](?:floor|ceil)$/.test(name)) this.put('operator', name, length);
    else if (CONSTANTS.has(name)) this.put('constant', name, length);
    else if (FUNCTIONS.has(name)) this.put('call', name, length);
    else if (/^[A-Za-z]+$/.test(name) && name.length <= 10) this.put('symbol', `\\${name}`, length);
    else throw new Unreadable(`\\${raw} is not a command the verifier knows`);
  }

  private group(offset: number): string {
    return matchAt(GROUP, this.source, this.at + offset)?.[0] ?? '';
  }

  /** \text{..}: a formula inside is read as one, words stay words. */
  private text(length: number): void {
    const match = matchAt(GROUP, this.source, this.at + length);
    if (!match) {
      this.skip(length);
      return;
    }
    const words = match[1]!.trim();
    const total = length + match[0].length;
    if (words === '' || words === '.') this.skip(total);
    else if (words === ',') this.put('operator', ',', total);
    else if (/^(?:and|or)$/i.test(words)) this.put('operator', words.toLowerCase(), total);
    else if (FUNCTIONS.has(words)) this.put('call', words, total);
    else if (/^[\d\s.,()[\]+\-*/^%$]+$/.test(words)) this.inner(words, total);
    else this.put('text', words, total);
  }

  private inner(words: string, total: number): void {
    for (const token of tokenize(words, this.reading)) this.tokens.push(token);
    this.push(this.tokens.pop()!, total);
  }

  private blackboard(length: number): void {
    const match = matchAt(GROUP, this.source, this.at + length);
    const letter = match ? match[1]!.trim() : (this.source[this.at + length] ?? '');
    this.put('command', `mathbb ${letter}`, length + (match ? match[0].length : 1));
  }

  /** \begin{pmatrix}, \begin{array}{cc}; & and \\ inside are operators. */
  private environment(which: string, length: number): void {
    const name = this.group(length);
    let total = length + name.length;
    const kind = name.replace(/[\s{}*]/g, '');
    if (!/matrix$|^array$|^cases$|^aligned$/.test(kind)) throw new Unreadable(`\\${which}${name} cannot be read`);
    if (which === 'begin' && kind === 'array') total += matchAt(GROUP, this.source, this.at + total)?.[0].length ?? 0;
    this.put('command', `${which} matrix`, total);
  }

  private letters(): void {
    const word = matchAt(LETTERS, this.source, this.at)![0];
    const name = ALIASES[word] ?? word;
    if (this.bare > 0) this.put('symbol', word[0]!, 1);
    else if (CONSTANTS.has(name)) this.put('constant', name, word.length);
    else if (FUNCTIONS.has(name)) this.put('call', name, word.length);
    else if (/^(?:and|or)$/i.test(word)) this.put('operator', word.toLowerCase(), word.length);
    else if (word === 'U' && this.spaced) this.put('operator', '∪', 1);
    else if (word.length >= 2) this.put('text', word, word.length);
    else this.put('symbol', word, 1);
  }

  private other(char: string): void {
    const point = String.fromCodePoint(this.source.codePointAt(this.at)!);
    const next = this.source[this.at + 1];
    const power = SUPERSCRIPTS.indexOf(char);
    if (char === '{') {
      this.outer.push(Math.max(0, this.bare - 1));
      if (this.outer.length > MAX_DEPTH) throw new Unreadable('braces are nested too deeply');
      this.put('operator', '{', 1);
      this.bare = 0;
    } else if (char === '}') {
      this.put('operator', '}', 1);
      this.bare = this.outer.pop() ?? 0;
    } else if (power >= 0) {
      this.put('operator', '^', 0);
      this.push(decimalToken(String(power), false), 1);
    } else if (FRACTIONS[char] !== undefined) this.fraction(FRACTIONS[char]);
    else if (SYMBOLS[char] !== undefined) {
      const name = SYMBOLS[char];
      this.put(name === 'sqrt' ? 'call' : name === 'emptyset' ? 'command' : 'constant', name, 1);
    } else if ((char === '<' || char === '>' || char === '!') && next === '=') this.put('operator', `${char}=`, 2);
    else if (char === '*' && next === '*') this.put('operator', '^', 2);
    else if (char === '&') this.put('operator', '&', 1);
    else if ("+-*/^_()[],;!|=<>%:'".includes(char)) this.put('operator', char, 1);
    else if (PLAIN[char] !== undefined) this.put('operator', PLAIN[char], 1);
    else if ('€£¥'.includes(char)) this.put('text', char, 1);
    else if (char === '.') this.skip(1);
    else if (/\p{L}/u.test(point)) this.foreign();
    else throw new Unreadable(`"${point}" does not belong to mathematics`);
  }

  /** Letters of another script: one Greek letter is a symbol, the rest words. */
  private foreign(): void {
    const word = matchAt(OTHER_WORD, this.source, this.at)![0];
    this.put(/^[α-ωΑ-Ω]$/u.test(word) ? 'symbol' : 'text', word, word.length);
  }

  /** ½ after a digit makes a mixed number, as \frac12 does. */
  private fraction(quotient: string): void {
    const [over, under] = quotient.split('/');
    this.push({ kind: 'command', text: 'frac', spaced: this.spaced }, 0);
    this.push(decimalToken(over!, false), 0);
    this.push(decimalToken(under!, false), 1);
  }
}
