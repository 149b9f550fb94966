import type { CodePointSet } from '../classes.js';

/** Replaces every character of a set; stretches of others are copied as they are. */
export function replaceIn(text: string, set: CodePointSet, replacement: (character: string) => string): string {
  let out = '';
  let done = 0; // text up to here is in `out`
  for (let at = 0; at < text.length; ) {
    const code = text.codePointAt(at)!;
    const next = at + (code > 0xffff ? 2 : 1);
    if (set.has(code)) {
      out += text.slice(done, at) + replacement(text.slice(at, next));
      done = next;
    }
    at = next;
  }
  return done === 0 ? text : out + text.slice(done);
}
