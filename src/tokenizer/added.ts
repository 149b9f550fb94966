/** A token matched as a whole in the text, before cutting and merging; the fields are those of `tokenizer.json`. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Left out by `decode` with `skipSpecial`. */
  readonly special: boolean;
  /** Matched in the normalised text, after those that are not. */
  readonly normalized: boolean;
  /** Only where no word character stands beside it. */
  readonly single_word: boolean;
  /** Takes the white space before it. */
  readonly lstrip: boolean;
  /** Takes the white space after it. */
  readonly rstrip: boolean;
}

/** A stretch of text, or an added token that was found. */
export type Segment = { readonly text: string } | { readonly token: AddedToken };

const SPACE = /\p{White_Space}/u;
const WORD = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]';
const WORD_BEFORE = new RegExp(`(?<=${WORD})`, 'uy');
const WORD_AFTER = new RegExp(WORD, 'uy');

/** Finds added tokens in text: leftmost first, the longest of those that begin at one place. */
export class AddedMatcher {
  readonly #byContent: ReadonlyMap<string, AddedToken>;
  readonly #regex: RegExp | undefined;

  /** @param spell what is looked for in the text; by default the token's content */
  constructor(tokens: readonly AddedToken[], spell: (content: string) => string = (content) => content) {
    this.#byContent = new Map(tokens.map((token) => [spell(token.content), token]));
    const longestFirst = [...this.#byContent.keys()].filter((text) => text !== '').sort((a, b) => b.length - a.length);
    this.#regex = longestFirst.length === 0 ? undefined : new RegExp(longestFirst.map(escapeRegex).join('|'), 'gu');
  }

  /** Cuts the text at the tokens in it. Stretches of text are never empty. */
  segments(text: string): Segment[] {
    if (!this.#regex) return text === '' ? [] : [{ text }];
    const out: Segment[] = [];
    let at = 0;
    for (const match of text.matchAll(this.#regex)) {
      const token = this.#byContent.get(match[0])!;
      let start = match.index;
      let end = start + match[0].length;
      if (start < at || (token.single_word && besideWord(text, start, end))) continue;
      if (token.lstrip) while (start > at && SPACE.test(text[start - 1]!)) start--;
      if (token.rstrip) while (end < text.length && SPACE.test(text[end]!)) end++;
      if (start > at) out.push({ text: text.slice(at, start) });
      out.push({ token });
      at = end;
    }
    if (at < text.length) out.push({ text: text.slice(at) });
    return out;
  }
}

/** Which added tokens count: none, all, or those with these contents. */
export type Allowed = boolean | 'all' | ReadonlySet<string> | undefined;

/** Does this token count? */
export function isAllowed(allowed: Allowed, content: string): boolean {
  return typeof allowed === 'object' ? allowed.has(content) : allowed === true || allowed === 'all';
}

/**
 * Cuts raw text at the allowed tokens and normalises what lies between: tokens that are not `normalized` are found in the
 * raw text, the others in what normalising made of it. What comes out is normalised, and its stretches are never empty.
 */
export class AddedSplitter {
  readonly #raw: AddedMatcher;
  readonly #normalized: AddedMatcher;

  constructor(
    tokens: readonly AddedToken[],
    readonly allowed: Allowed,
    readonly normalize: (text: string) => string,
  ) {
    const wanted = tokens.filter((token) => isAllowed(allowed, token.content));
    this.#raw = new AddedMatcher(wanted.filter((token) => !token.normalized));
    this.#normalized = new AddedMatcher(
      wanted.filter((token) => token.normalized),
      normalize,
    );
  }

  segments(text: string): Segment[] {
    return this.#raw
      .segments(text)
      .flatMap((outer) => ('token' in outer ? [outer] : this.#normalized.segments(this.normalize(outer.text))));
  }
}

function besideWord(text: string, start: number, end: number): boolean {
  WORD_BEFORE.lastIndex = start;
  WORD_AFTER.lastIndex = end;
  return WORD_BEFORE.test(text) || WORD_AFTER.test(text);
}

function escapeRegex(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}
