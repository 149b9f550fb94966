import { CodePointSet, classAt, codePointAt, SPACE, widthOf } from './classes.js';
import type { Ends, Splitter } from './ends.js';
import { type Dialect, translatePattern } from './pattern.js';

/** What happens to the matches of a split; the names are those of `tokenizer.json`. */
export type Behavior = 'Isolated' | 'Contiguous' | 'MergedWithPrevious' | 'MergedWithNext';

/** Finds the first match in `bytes[from, end)` of a text that starts at `start`: sets `matchStart` and `matchEnd`. */
interface Finder {
  matchStart: number;
  matchEnd: number;
  find(bytes: Uint8Array, start: number, from: number, end: number): boolean;
  /** Called before the first `find` of a text. */
  begin(bytes: Uint8Array, start: number, end: number): void;
}

/** The splitter for one pattern: a scanner for runs of a character class where the pattern is one, else a regular expression. */
export function patternSplitter(pattern: string, dialect: Dialect, behavior: Behavior, invert = false): Splitter {
  return splitterOf(
    runFinder(pattern, dialect) ?? new RegexFinder(translatePattern(pattern, dialect)),
    behavior,
    invert,
  );
}

/** The splitter that cuts at each occurrence of a fixed text. */
export function literalSplitter(text: string, behavior: Behavior, invert = false): Splitter {
  const escaped = [...text].map((char) => `\\u{${char.codePointAt(0)!.toString(16)}}`).join('');
  return splitterOf(new RegexFinder(new RegExp(escaped, 'gv')), behavior, invert);
}

/** One splitter after the other: each cuts the pieces of the one before. */
export function inTurn(splitters: readonly Splitter[]): Splitter {
  if (splitters.length === 1) return splitters[0]!;
  const [first, ...others] = splitters;
  if (!first) return (_bytes, start, end, ends) => void (end > start && ends.push(end));
  const rest = inTurn(others);
  return (bytes, start, end, ends) => {
    const from = ends.length;
    first(bytes, start, end, ends);
    const coarse = ends.at.slice(from, ends.length);
    ends.length = from;
    let at = start;
    for (const stop of coarse) {
      if (stop - at === widthOf(bytes[at]!))
        ends.push(stop); // one character: nothing is left to cut
      else rest(bytes, at, stop, ends);
      at = stop;
    }
  };
}

function splitterOf(finder: Finder, behavior: Behavior, invert: boolean): Splitter {
  return (bytes, start, end, ends) => {
    finder.begin(bytes, start, end);
    const pieces = new Pieces(ends, start, behavior);
    let at = start;
    for (let from = start; from < end && finder.find(bytes, start, from, end); ) {
      const { matchStart, matchEnd } = finder;
      if (matchStart > at) pieces.add(matchStart, invert);
      if (matchEnd > matchStart) pieces.add(matchEnd, !invert);
      at = matchEnd;
      from = matchEnd > matchStart ? matchEnd : matchEnd + widthOf(bytes[matchEnd] ?? 0);
    }
    if (at < end) pieces.add(end, invert);
  };
}

/** Joins neighbouring pieces as the behaviour asks. */
class Pieces {
  #previous: boolean | undefined; // was the piece before a match?
  constructor(
    readonly ends: Ends,
    readonly start: number,
    readonly behavior: Behavior,
  ) {}

  add(end: number, match: boolean): void {
    const joins =
      this.#previous !== undefined &&
      ((this.behavior === 'Contiguous' && this.#previous === match) ||
        (this.behavior === 'MergedWithPrevious' && match && !this.#previous) ||
        (this.behavior === 'MergedWithNext' && !match && this.#previous));
    if (joins) this.ends.length--;
    this.ends.push(end);
    this.#previous = match;
  }
}

/** Matches of a JavaScript regular expression. It needs the text as a string, and its places as byte offsets. */
class RegexFinder implements Finder {
  matchStart = 0;
  matchEnd = 0;
  #text = '';
  #unit = 0; // a place in the text, in UTF-16 units ...
  #byte = 0; // ... and the byte offset of the same place
  constructor(readonly regex: RegExp) {}

  begin(bytes: Uint8Array, start: number, end: number): void {
    this.#text = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('utf8');
    this.#unit = 0;
    this.#byte = start;
  }

  find(bytes: Uint8Array, _start: number, from: number, _end: number): boolean {
    this.regex.lastIndex = this.#unitOf(bytes, from);
    const match = this.regex.exec(this.#text);
    if (!match) return false;
    this.matchStart = this.#byteOf(bytes, match.index);
    this.matchEnd = this.#byteOf(bytes, match.index + match[0].length);
    return true;
  }

  #byteOf(bytes: Uint8Array, unit: number): number {
    while (this.#unit < unit) this.#step(bytes);
    return this.#byte;
  }

  #unitOf(bytes: Uint8Array, byte: number): number {
    while (this.#byte < byte) this.#step(bytes);
    return this.#unit;
  }

  #step(bytes: Uint8Array): void {
    const width = widthOf(bytes[this.#byte]!);
    this.#byte += width;
    this.#unit += width === 4 ? 2 : 1;
  }
}

/** A run of a class: `C`, `C+` or `C{1,n}`, perhaps with `\s?` or a space and `?` before it. */
class RunFinder implements Finder {
  matchStart = 0;
  matchEnd = 0;
  constructor(
    readonly set: CodePointSet,
    readonly lead: 'none' | 'space' | 'blank',
    readonly limit: number,
  ) {}

  begin(): void {}

  find(bytes: Uint8Array, _start: number, from: number, end: number): boolean {
    for (let at = from; at < end; at += widthOf(bytes[at]!)) {
      const body = this.#leads(bytes, at, end) ? at + widthOf(bytes[at]!) : at;
      let stop = this.#run(bytes, body, end);
      if (stop === body && body > at) stop = this.#run(bytes, at, end);
      else if (stop === body) continue;
      if (stop === at) continue;
      this.matchStart = at;
      this.matchEnd = stop;
      return true;
    }
    return false;
  }

  #leads(bytes: Uint8Array, at: number, end: number): boolean {
    if (this.lead === 'none') return false;
    return this.lead === 'blank' ? bytes[at] === 0x20 : (classAt(bytes, at, end) & SPACE) !== 0;
  }

  #run(bytes: Uint8Array, at: number, end: number): number {
    let i = at;
    for (let n = 0; n < this.limit && i < end && this.set.has(codePointAt(bytes, i)); n++) i += widthOf(bytes[i]!);
    return i;
  }
}

/** A finder for a pattern that is a run of one class; undefined if it is anything else. */
function runFinder(pattern: string, dialect: Dialect): Finder | undefined {
  const parts = /^(\\s\?| \?)?(\[(?:[^\\[\]&]|\\.)+\]|\\p\{\^?\w+\})(\+|\{1,(\d+)\})?$/su.exec(pattern);
  if (!parts) return undefined;
  const [, lead, set, quantifier, most] = parts;
  const one = new RegExp(`^${translatePattern(set!, dialect).source}$`, 'v');
  const members = new CodePointSet((code) => one.test(String.fromCodePoint(code)));
  const limit = quantifier === undefined ? 1 : most === undefined ? Number.POSITIVE_INFINITY : Number(most);
  return new RunFinder(members, lead === undefined ? 'none' : lead === ' ?' ? 'blank' : 'space', limit);
}
