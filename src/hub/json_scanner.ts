import { TrainMoeError } from '../errors.js';

/** Deeper nesting than this is refused: no file read here needs it, and the recursion below must stay bounded. */
const MAX_DEPTH = 64;

const LITERALS = ['true', 'false', 'null'];
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * A cursor over JSON text (RFC 8259) for formats that must be read more strictly than `JSON.parse` allows: it shows
 * duplicate keys, the order of keys, and the spelling of numbers, and it builds nothing that the caller does not keep.
 *
 * Every method that meets something else than it is named for throws `bad-data` with the file, the position and both
 * what was found and what was expected.
 */
export class JsonScanner {
  private at = 0;
  private depth = 0;

  constructor(
    private readonly text: string,
    /** What is being read, for error sentences: a path. */
    private readonly where: string,
  ) {}

  /** Calls `entry` with each key in turn; it must read the value. A key that comes twice is an error. */
  object(entry: (key: string) => void): void {
    const seen = new Set<string>();
    this.list('{', '}', () => {
      const at = this.at;
      const key = this.string();
      if (seen.has(key)) throw this.error(`the key ${JSON.stringify(key)} comes twice in one object`, at);
      seen.add(key);
      this.take(':');
      entry(key);
    });
  }

  /** Calls `element` once per element; it must read the value. */
  array(element: () => void): void {
    this.list('[', ']', element);
  }

  string(): string {
    return this.stringWithText().value;
  }

  /** A string with its spelling, quotes and escapes included. */
  stringWithText(): { readonly value: string; readonly text: string } {
    const start = this.skipSpace();
    if (this.text.charCodeAt(start) !== QUOTE) throw this.unexpected('a string');
    let end = start + 1;
    let plain = true;
    for (; ; end++) {
      const unit = this.text.charCodeAt(end);
      if (unit === QUOTE) break;
      if (!(unit >= 0x20)) throw this.error('a string does not end, or holds a control character', end);
      if (unit === BACKSLASH) {
        plain = false;
        end++;
      }
    }
    this.at = end + 1;
    const text = this.text.slice(start, this.at);
    if (plain) return { value: text.slice(1, -1), text };
    try {
      return { value: JSON.parse(text) as string, text };
    } catch (cause) {
      throw this.error('a string holds a bad escape', start, cause);
    }
  }

  /** The number as it is spelled: `1e-06`, `10000.0`. */
  numberText(): string {
    const start = this.skipSpace();
    const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
    number.lastIndex = start;
    const match = number.exec(this.text);
    if (match === null) throw this.unexpected('a number');
    this.at = number.lastIndex;
    return match[0];
  }

  /** An integer from 0 to 2^53 - 1, written with digits only; `what` names it in the error. */
  size(what: string): number {
    const start = this.skipSpace();
    const text = this.numberText();
    const value = Number(text);
    if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(value)) {
      throw this.error(`${what} is ${text.slice(0, 40)}, but must be an integer from 0 to 2^53 - 1`, start);
    }
    return value;
  }

  /** Takes `word` if the next token starts with it. */
  tryWord(word: string): boolean {
    if (!this.text.startsWith(word, this.skipSpace())) return false;
    this.at += word.length;
    return true;
  }

  /** The first character of the next token, or '' at the end. */
  peek(): string {
    return this.text.charAt(this.skipSpace());
  }

  /** Reads any value and keeps nothing of it. */
  skip(): void {
    const first = this.peek();
    if (first === '{') this.object(() => this.skip());
    else if (first === '[') this.array(() => this.skip());
    else if (first === '"') this.string();
    else if (!LITERALS.some((word) => this.tryWord(word))) this.numberText();
  }

  /** Only white space may follow. */
  end(): void {
    if (this.skipSpace() < this.text.length) throw this.unexpected('the end');
  }

  error(problem: string, at = this.at, cause?: unknown): TrainMoeError {
    const message = `${this.where}: ${problem} (character ${at} of the JSON text).`;
    return new TrainMoeError('bad-data', message, cause === undefined ? undefined : { cause });
  }

  unexpected(wanted: string): TrainMoeError {
    const found = this.text.charAt(this.at);
    return this.error(`found ${found === '' ? 'the end' : JSON.stringify(found)} where ${wanted} was expected`);
  }

  private list(open: string, close: string, item: () => void): void {
    this.take(open);
    if (++this.depth > MAX_DEPTH) throw this.error(`nested deeper than ${MAX_DEPTH} levels`);
    if (this.peek() !== close) {
      do item();
      while (this.tryWord(','));
    }
    this.take(close);
    this.depth--;
  }

  private take(character: string): void {
    if (!this.tryWord(character)) throw this.unexpected(`"${character}"`);
  }

  private skipSpace(): number {
    for (; ; this.at++) {
      const unit = this.text.charCodeAt(this.at);
      if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return this.at;
    }
  }
}
