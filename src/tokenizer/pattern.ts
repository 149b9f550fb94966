import { TrainMoeError } from '../errors.js';
import { WHITE_SPACE } from './classes.js';

/**
 * Where a pattern comes from decides a few meanings. Oniguruma (`tokenizer.json`): `^` and `$` are those of a line, and
 * `{n,m}+` repeats. Rust (`.tiktoken`): those of the text, and `{n,m}+` is possessive.
 */
export type Dialect = 'oniguruma' | 'rust';

/**
 * Translates a pre-tokenizer's pattern to a JavaScript regular expression (flags `gv`): inline flags `(?i)`, possessive
 * quantifiers, atomic groups, Unicode properties, class intersections, and `\s \d \w` as Unicode has them.
 * Throws a `TrainMoeError` that names the construct if it has none of our translations.
 */
export function translatePattern(pattern: string, dialect: Dialect): RegExp {
  const source = new Translator(pattern, dialect).translate();
  try {
    return new RegExp(source, 'gv');
  } catch (cause) {
    throw unsupported(pattern, `this engine refuses its translation ${source}`, cause);
  }
}

function unsupported(pattern: string, why: string, cause?: unknown): TrainMoeError {
  return new TrainMoeError(
    'bad-data',
    `The pre-tokenizer pattern ${JSON.stringify(pattern)} is not supported: ${why}.`,
    cause === undefined ? undefined : { cause },
  );
}

const SPACES = WHITE_SPACE;
const CONTROL: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, a: 7, e: 27 };
/** What `\s` and its like stand for inside brackets. */
const SHORTHAND: Readonly<Record<string, string>> = {
  s: `[${SPACES}]`,
  S: `[^${SPACES}]`,
  d: '\\p{Nd}',
  D: '\\P{Nd}',
};
/** Word characters; Oniguruma counts the superscripts and fractions of Latin-1 among them. */
const WORD: Readonly<Record<Dialect, string>> = {
  rust: '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}',
  oniguruma: '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xB2\\xB3\\xB9\\xBC-\\xBE',
};

/** A recursive descent over the pattern that writes the JavaScript source as it reads. */
class Translator {
  #at = 0;
  #groups = 0; // capture groups written so far: emulated atomic groups refer back by number
  #insensitive = false;

  constructor(
    readonly pattern: string,
    readonly dialect: Dialect,
  ) {}

  translate(): string {
    const out = this.#alternatives();
    if (this.#at < this.pattern.length) throw this.#refuse(`")" at ${this.#at} closes nothing`);
    return out;
  }

  #refuse(why: string): TrainMoeError {
    return unsupported(this.pattern, why);
  }

  #alternatives(): string {
    const outer = this.#insensitive;
    let out = '';
    while (this.#at < this.pattern.length && this.pattern[this.#at] !== ')') {
      if (this.pattern[this.#at] === '|') {
        out += '|';
        this.#at++;
      } else out += this.#term();
    }
    this.#insensitive = outer;
    return out;
  }

  /** One atom with its quantifier. */
  #term(): string {
    const groupsBefore = this.#groups;
    const atom = this.#atom();
    const quantifier = /^(?:[?*+]|\{(\d*)(,?)(\d*)\})/.exec(this.pattern.slice(this.#at));
    if (!quantifier || atom === '' || quantifier[0] === '{}' || quantifier[0] === '{,}') return atom;
    this.#at += quantifier[0].length;
    const braces = quantifier[0].startsWith('{');
    const counts = quantifier[0].replace('{,', '{0,');
    const follows = this.pattern[this.#at];
    if (follows === '?') {
      this.#at++;
      return `${atom}${counts}?`;
    }
    if (follows !== '+') return atom + counts;
    this.#at++;
    if (braces && this.dialect === 'oniguruma') return `(?:${atom}${counts})+`;
    if (this.#groups > groupsBefore) throw this.#refuse('a possessive quantifier follows a group that has one inside');
    return this.#atomic(atom + counts);
  }

  /** Once matched, never given back: a lookahead is atomic, and the reference then consumes what it saw. */
  #atomic(body: string): string {
    const number = ++this.#groups;
    return `(?:(?=(${body}))\\${number})`;
  }

  #atom(): string {
    const char = String.fromCodePoint(this.pattern.codePointAt(this.#at)!);
    if (char === '(') return this.#group();
    if (char === '[') return this.#class();
    if (char === '\\') return this.#escape();
    if ('?*+'.includes(char)) throw this.#refuse(`"${char}" at ${this.#at} has nothing to repeat`);
    this.#at += char.length;
    if (char === '.') return '[^\\n]';
    if (char === '$') return this.dialect === 'oniguruma' ? '(?![^\\n])' : '$';
    if (char === '^') return this.dialect === 'oniguruma' ? '(?<![^\\n])' : '^';
    return this.#literal(char.codePointAt(0)!);
  }

  #group(): string {
    const open = /^\((?:\?(?:(<=|<!|[:=!>])|([a-z]*)(-[a-z]+)?([:)])))?/.exec(this.pattern.slice(this.#at))!;
    const [text, kind, on, off, close] = open;
    if (text === '(' && this.pattern[this.#at + 1] === '?')
      throw this.#refuse(`the group at ${this.#at} is of a kind not known`);
    this.#at += text.length;
    if (on !== undefined && close !== undefined) return this.#flags(on, off ?? '', close);
    const first = this.#groups;
    const body = this.#alternatives();
    this.#closeGroup();
    if (kind === '>') {
      if (this.#groups > first) throw this.#refuse('an atomic group has another inside');
      return this.#atomic(body);
    }
    return `(?${kind ?? ':'}${body})`; // captures are not needed: no references to them are supported
  }

  /** `(?i)` holds to the end of the group around it, `(?i:...)` inside. */
  #flags(on: string, off: string, close: string): string {
    if (/[^i]/.test(on) || /[^-i]/.test(off)) throw this.#refuse(`the flags "(?${on}${off}" are not known`);
    const outer = this.#insensitive;
    this.#insensitive = off === '' ? on !== '' || outer : false;
    if (close === ')') return '';
    const body = this.#alternatives();
    this.#insensitive = outer;
    this.#closeGroup();
    return `(?:${body})`;
  }

  #closeGroup(): void {
    if (this.pattern[this.#at] !== ')') throw this.#refuse('a "(" is not closed');
    this.#at++;
  }

  /** An escape outside brackets. */
  #escape(): string {
    const next = this.pattern[this.#at + 1] ?? '';
    if (next === 'A' || next === 'z') {
      this.#at += 2;
      return next === 'A' ? '^' : '$';
    }
    const set = this.#setEscape();
    return set ?? this.#literal(this.#codeEscape());
  }

  /** `\s \d \w \p{...}` and their complements; undefined if the escape is of another kind. */
  #setEscape(): string | undefined {
    const next = this.pattern[this.#at + 1] ?? '';
    const word = next === 'w' || next === 'W';
    const shorthand = word ? `[${next === 'W' ? '^' : ''}${WORD[this.dialect]}]` : SHORTHAND[next];
    if (shorthand !== undefined) {
      this.#at += 2;
      return shorthand;
    }
    if (next !== 'p' && next !== 'P') return undefined;
    const property = /^\\[pP](?:\{(\^?)([\w =]+)\}|([A-Z]))/.exec(this.pattern.slice(this.#at));
    if (!property) throw this.#refuse(`the property at ${this.#at} cannot be read`);
    this.#at += property[0].length;
    const negated = (next === 'P') !== (property[1] === '^');
    return `\\${negated ? 'P' : 'p'}{${this.#property(property[2] ?? property[3]!)}}`;
  }

  #property(name: string): string {
    for (const spelling of [name, `Script=${name}`]) {
      try {
        new RegExp(`\\p{${spelling}}`, 'v');
        return spelling;
      } catch {}
    }
    throw this.#refuse(`the Unicode property "${name}" is not known`);
  }

  /** An escape that stands for one character. */
  #codeEscape(): number {
    const rest = this.pattern.slice(this.#at + 1);
    const hex = /^(?:x\{([0-9a-fA-F]+)\}|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]+)\})/.exec(rest);
    if (hex) {
      this.#at += 1 + hex[0].length;
      return Number.parseInt(hex[1] ?? hex[2] ?? hex[3] ?? hex[4]!, 16);
    }
    const char = rest === '' ? '' : String.fromCodePoint(rest.codePointAt(0)!);
    const control = CONTROL[char];
    if (char === '' || (control === undefined && /[\p{L}\p{N}]/u.test(char))) {
      throw this.#refuse(`the escape "\\${char}" at ${this.#at} is not known`);
    }
    this.#at += 1 + char.length;
    return control ?? char.codePointAt(0)!;
  }

  #literal(code: number): string {
    const variants = this.#variants(code);
    return variants.length === 1 ? hexEscape(code) : `[${variants.map(hexEscape).join('')}]`;
  }

  /** The characters that match this one under the flags in force. */
  #variants(code: number): number[] {
    if (!this.#insensitive) return [code];
    const char = String.fromCodePoint(code);
    const all = new Set([code]);
    for (const other of [char.toLowerCase(), char.toUpperCase(), ...(CASE_EXTRA[char.toLowerCase()] ?? [])]) {
      if ([...other].length === 1) all.add(other.codePointAt(0)!);
    }
    return [...all];
  }

  /** A bracketed class. Everything is written as escapes and nested classes, which the `v` flag always accepts. */
  #class(): string {
    const start = this.#at;
    this.#at++;
    const negated = this.pattern[this.#at] === '^';
    if (negated) this.#at++;
    const operands: string[] = [];
    let items = '';
    for (let first = true; ; first = false) {
      const char = this.pattern[this.#at];
      if (char === undefined) throw this.#refuse(`the "[" at ${start} is not closed`);
      if (char === ']' && !first) break;
      if (this.pattern.startsWith('&&', this.#at)) {
        operands.push(items);
        items = '';
        this.#at += 2;
      } else items += this.#classItem();
    }
    this.#at++;
    const inside = operands.length === 0 ? items : [...operands, items].map((part) => `[${part}]`).join('&&');
    return `[${negated ? '^' : ''}${inside}]`;
  }

  #classItem(): string {
    if (this.pattern.startsWith('[:', this.#at))
      throw this.#refuse('POSIX classes such as [:alpha:] are not translated');
    if (this.pattern[this.#at] === '[') return this.#class();
    const from = this.#classAtom();
    if (typeof from === 'string') return from;
    const dash = this.pattern[this.#at] === '-' && this.pattern[this.#at + 1] !== ']';
    if (!dash) return this.#variants(from).map(hexEscape).join('');
    this.#at++;
    const to = this.#classAtom();
    if (typeof to === 'string' || to < from) throw this.#refuse(`a class range that ends at ${this.#at} is not one`);
    let out = `${hexEscape(from)}-${hexEscape(to)}`;
    if (this.#insensitive) {
      if (to - from > 1024) throw this.#refuse('a class range under (?i) is too wide');
      for (let code = from; code <= to; code++) out += this.#variants(code).map(hexEscape).join('');
    }
    return out;
  }

  /** One character of a class as its code, or a set as its source. */
  #classAtom(): number | string {
    if (this.pattern[this.#at] === '\\') return this.#setEscape() ?? this.#codeEscape();
    const code = this.pattern.codePointAt(this.#at)!;
    this.#at += code > 0xffff ? 2 : 1;
    return code;
  }
}

/** Case variants that `toLowerCase` and `toUpperCase` do not give: the long s and the Kelvin sign. */
const CASE_EXTRA: Readonly<Record<string, readonly string[]>> = { s: ['\u017f'], k: ['\u212a'] };

function hexEscape(code: number): string {
  return `\\u{${code.toString(16)}}`;
}
