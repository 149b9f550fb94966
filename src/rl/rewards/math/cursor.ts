import { MAX_DEPTH } from './limits.js';
import { type Token, Unreadable } from './tokens.js';

/** What closes an opening bracket. */
export const CLOSERS: Readonly<Record<string, readonly string[]>> = {
  '(': [')', ']'],
  '[': [')', ']'],
  ']': ['[', ']'],
  '{': ['}'],
  '\\{': ['\\}'],
};

/** The tokens of an answer, and how far they have been read. */
export class Cursor {
  at = 0;
  /** Inside |..|, where a bar closes. */
  bars = 0;
  /** The currency before a number: "$5". */
  currency: string | undefined;
  /** For each opening round or square bracket: where it closes, and whether a comma stands directly inside. */
  readonly brackets: ReadonlyMap<number, { readonly close: number; readonly listed: boolean }>;
  readonly closers: ReadonlySet<number>;
  #depth = 0;

  constructor(readonly tokens: readonly Token[]) {
    this.brackets = matchBrackets(tokens);
    this.closers = new Set([...this.brackets.values()].map((bracket) => bracket.close));
  }

  done(): boolean {
    return this.at >= this.tokens.length;
  }

  peek(): Token | undefined {
    return this.tokens[this.at];
  }

  isOperator(...texts: string[]): boolean {
    const token = this.peek();
    return token?.kind === 'operator' && texts.includes(token.text);
  }

  isCommand(text: string): boolean {
    const token = this.peek();
    return token?.kind === 'command' && token.text === text;
  }

  /** Reads this operator if it stands here. */
  take(text: string): boolean {
    if (!this.isOperator(text)) return false;
    this.at++;
    return true;
  }

  /** Reads the one of these operators that must stand here. */
  expect(...texts: string[]): string {
    const token = this.peek();
    if (!this.isOperator(...texts)) throw new Unreadable(`${texts.join(' or ')} is missing`);
    this.at++;
    return (token as { text: string }).text;
  }

  /** Reads what is nested here. */
  deeper<T>(read: () => T): T {
    if (++this.#depth > MAX_DEPTH) throw new Unreadable('the answer is nested too deeply');
    const result = read();
    this.#depth--;
    return result;
  }
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
