import { TrainMoeError } from '../../errors.js';
import { CodePointSet } from '../classes.js';
import { eachCluster, mayJoin, stretchAround } from './clusters.js';

/** A cluster of this many UTF-8 bytes or more is replaced character by character; the rule is that of Hugging Face. */
const LONG_CLUSTER = 6;

/** How many chunks are remembered with their values; then all are forgotten. */
const KNOWN_CHUNKS = 1 << 16;

/**
 * SentencePiece's `precompiled_charsmap` (base64): a double array that finds byte strings, and the texts that they are
 * replaced by. Layout: the double array's size in bytes, its units (both uint32, little endian), then texts that end in NUL.
 */
class Charsmap {
  readonly #units: Uint32Array;
  readonly #texts: Uint8Array;
  readonly #utf8 = new TextEncoder();
  readonly #bytes = new Uint8Array(8);
  readonly #known = new Map<string, string | undefined>();
  /** Characters that have a value. */
  readonly changed = new CodePointSet((code) => typeof this.#find(String.fromCodePoint(code)) === 'number');
  /** Characters with which something begins that has a value. */
  readonly beginnings = new CodePointSet((code) => this.#find(String.fromCodePoint(code)) !== 'none');

  constructor(
    base64: string,
    readonly where: string,
  ) {
    const blob = Buffer.from(base64, 'base64');
    const size = blob.length < 4 ? -1 : blob.readUInt32LE(0);
    if (size < 4 || size % 4 !== 0 || 4 + size > blob.length) throw this.#damaged();
    this.#units = Uint32Array.from({ length: size / 4 }, (_, i) => blob.readUInt32LE(4 + i * 4));
    this.#texts = blob.subarray(4 + size);
  }

  /** What replaces a chunk of up to 5 bytes: the value of its shortest prefix that has one, whatever follows that prefix. */
  valueOf(chunk: string): string | undefined {
    if (this.#known.has(chunk)) return this.#known.get(chunk);
    const at = this.#find(chunk);
    const value = typeof at === 'number' ? this.#textAt(at) : undefined;
    if (this.#known.size === KNOWN_CHUNKS) this.#known.clear();
    this.#known.set(chunk, value);
    return value;
  }

  /**
   * Where the value of the chunk's shortest prefix starts that has one; else whether longer chunks may have one (`more`) or
   * not (`none`). The units are those of the Darts-clone library.
   */
  #find(chunk: string): number | 'more' | 'none' {
    const { written } = this.#utf8.encodeInto(chunk, this.#bytes);
    let unit = this.#unit(0);
    let node = offsetOf(unit);
    for (let i = 0; i < written; i++) {
      const byte = this.#bytes[i]!;
      node ^= byte;
      unit = this.#unit(node);
      if (byte === 0 || (unit & 0x800000ff) !== byte) return 'none'; // another label, or a value
      node ^= offsetOf(unit);
      if (unit & 0x100) return this.#unit(node) & 0x7fffffff;
    }
    return 'more';
  }

  #unit(node: number): number {
    const unit = this.#units[node];
    if (unit === undefined) throw this.#damaged();
    return unit;
  }

  #textAt(start: number): string {
    if (start > this.#texts.length) throw this.#damaged();
    const end = this.#texts.indexOf(0, start);
    return Buffer.from(this.#texts.subarray(start, end < 0 ? this.#texts.length : end)).toString('utf8');
  }

  #damaged(): TrainMoeError {
    return new TrainMoeError(
      'bad-data',
      `${this.where}: precompiled_charsmap is damaged: it is no table of SentencePiece.`,
    );
  }
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}

/** The normalizer `Precompiled`. Throws a `TrainMoeError` if the table is damaged. */
export function precompiled(base64: string, where: string): (text: string) => string {
  const map = new Charsmap(base64, where);
  return (text) => {
    let out = '';
    let done = 0; // text up to here is in `out`
    const put = (from: number, to: number): boolean => {
      const value = map.valueOf(text.slice(from, to));
      if (value === undefined) return false;
      out += text.slice(done, from) + value;
      done = to;
      return true;
    };
    const putCharacters = (from: number, to: number): void => {
      for (let at = from; at < to; at += widthAt(text, at))
        if (map.changed.has(text.codePointAt(at)!)) put(at, at + widthAt(text, at));
    };
    let cleared = 0; // clusters end here, and need not be looked at again
    for (let at = 0; at < text.length; ) {
      const next = at + widthAt(text, at);
      if (!map.beginnings.has(text.codePointAt(at)!)) at = next;
      else if (text.startsWith('\r\n', at)) {
        if (!put(at, at + 2)) putCharacters(at, at + 2); // a cluster, and a frequent one
        at += 2;
      } else if (
        next < text.length &&
        bytesOf(text, at, next + widthAt(text, next)) < LONG_CLUSTER &&
        mayJoin(text, next)
      ) {
        const { from, to } = stretchAround(text, at, cleared);
        eachCluster(text, from, to, (start, end) => {
          const whole = start >= at && bytesOf(text, start, end) < LONG_CLUSTER;
          if (!whole || !put(start, end)) putCharacters(Math.max(start, at), end);
        });
        cleared = to;
        at = to;
      } else {
        putCharacters(at, next);
        at = next;
      }
    }
    return done === 0 ? text : out + text.slice(done);
  };
}

const widthAt = (text: string, at: number): number => (text.codePointAt(at)! > 0xffff ? 2 : 1);

/** The length of `text[from, to)` in UTF-8. */
function bytesOf(text: string, from: number, to: number): number {
  let bytes = 0;
  for (let i = from; i < to; i++) {
    const unit = text.charCodeAt(i);
    bytes += unit < 0x80 ? 1 : unit < 0x800 || (unit & 0xf800) === 0xd800 ? 2 : 3; // a surrogate is half of 4
  }
  return bytes;
}
