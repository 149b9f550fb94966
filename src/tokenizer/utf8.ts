/** Texts up to this many UTF-16 units share one buffer for their bytes. */
const SHARED_UNITS = 1 << 20;

/** Text to UTF-8, in a buffer that the next text overwrites. Lone surrogates become U+FFFD. */
export class Utf8Buffer {
  readonly #encoder = new TextEncoder();
  #bytes = new Uint8Array(1 << 14);

  /** The bytes of the text: the first `length` of the buffer. */
  write(text: string): { readonly bytes: Uint8Array; readonly length: number } {
    const bytes = this.#room(text);
    return { bytes, length: this.#encoder.encodeInto(text, bytes).written };
  }

  /** A buffer that holds the UTF-8 of the text: 3 bytes for each UTF-16 unit are always enough. */
  #room(text: string): Uint8Array<ArrayBuffer> {
    if (text.length > SHARED_UNITS) return new Uint8Array(Buffer.byteLength(text));
    if (text.length * 3 > this.#bytes.length) this.#bytes = new Uint8Array(text.length * 4);
    return this.#bytes;
  }
}
