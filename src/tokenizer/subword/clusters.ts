import { CodePointSet } from '../classes.js';

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** Characters that no letter shows up, but that join their own kind: line ends, flags, Hangul jamo. */
const JOINS_ITS_KIND = /^[\r\n\p{RI}\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff]/u;

/** Characters that may share a grapheme cluster with a neighbour; between two others there is always a boundary. */
const JOINING = new CodePointSet((code) => {
  const character = String.fromCodePoint(code);
  if (JOINS_ITS_KIND.test(character)) return true;
  return [`a${character}`, `${character}a`].some((text) => [...graphemes.segment(text)].length < 2);
});

/**
 * Calls back with the place of each extended grapheme cluster (UAX #29) of a well-formed text, in order. The engine's
 * segmenter, which is slow, sees only stretches in which characters may join.
 */
export function eachCluster(text: string, found: (from: number, to: number) => void): void {
  for (let at = 0; at < text.length; ) {
    let code = text.codePointAt(at)!;
    let end = at + (code > 0xffff ? 2 : 1);
    let joining = JOINING.has(code);
    for (; end < text.length; end += code > 0xffff ? 2 : 1) {
      code = text.codePointAt(end)!;
      const joins = JOINING.has(code);
      if (!joins && !joining) break;
      joining = joins;
    }
    if (end === at + 1 || (end === at + 2 && text.codePointAt(at)! > 0xffff)) found(at, end);
    else
      for (const { index, segment } of graphemes.segment(text.slice(at, end)))
        found(at + index, at + index + segment.length);
    at = end;
  }
}
