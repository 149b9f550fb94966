import { CodePointSet } from '../classes.js';

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** UTF-16 units that the segmenter gets at once. */
const WINDOW = 256;

/** Characters that no letter shows up, but that join their own kind: flags and Hangul jamo. */
const JOINS_ITS_KIND = /^[\p{RI}\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff]/u;

/** Characters of these categories are asked about; all others stand apart from letters. */
const DOUBTFUL = /^(?:[\p{M}\p{Cf}\p{Lm}\p{Sk}]|(?![\p{Script=Han}\uac00-\ud7a3])\p{Lo})/u;

/** Characters that may share a grapheme cluster with a neighbour; between two others is always a boundary, save CR LF. */
const JOINING = new CodePointSet((code) => {
  const character = String.fromCodePoint(code);
  if (JOINS_ITS_KIND.test(character)) return true;
  if (!DOUBTFUL.test(character)) return false;
  return [`a${character}`, `${character}a`].some((text) => [...graphemes.segment(text)].length < 2);
});

/** May the characters before and after this place belong to one grapheme cluster? */
export function mayJoin(text: string, at: number): boolean {
  const after = text.codePointAt(at)!;
  const before = text.codePointAt(startBefore(text, at))!;
  return JOINING.has(after) || JOINING.has(before) || (before === 0x0d && after === 0x0a);
}

/** The longest stretch around the character at `at`, not before `low`, inside which characters may join. */
export function stretchAround(text: string, at: number, low: number): { readonly from: number; readonly to: number } {
  let from = at;
  while (from > low && mayJoin(text, from)) from = startBefore(text, from);
  let to = at;
  do to += text.codePointAt(to)! > 0xffff ? 2 : 1;
  while (to < text.length && mayJoin(text, to));
  return { from, to };
}

/**
 * Calls back with the place of each extended grapheme cluster (UAX #29) of `text[from, to)`, in order. The engine's segmenter
 * takes longer for each cluster the longer its text is, so it gets a little at a time; the last cluster of what it got may go
 * on, and begins the next.
 */
export function eachCluster(text: string, from: number, to: number, found: (from: number, to: number) => void): void {
  let size = WINDOW;
  for (let at = from; at < to; ) {
    const most = Math.min(to, at + size);
    const window = text.slice(at, text.codePointAt(most - 1)! > 0xffff ? most + 1 : most); // no half characters
    const starts = Array.from(graphemes.segment(window), ({ index }) => index);
    const last = at + window.length === to;
    const ends = last ? [...starts.slice(1), window.length] : starts.slice(1);
    for (const [i, end] of ends.entries()) found(at + starts[i]!, at + end);
    size = ends.length === 0 ? size * 2 : WINDOW; // a cluster longer than the window
    at += ends.at(-1) ?? 0;
  }
}

/** Where the character before this place starts. */
function startBefore(text: string, at: number): number {
  return at > 1 && (text.charCodeAt(at - 1) & 0xfc00) === 0xdc00 ? at - 2 : at - 1;
}
