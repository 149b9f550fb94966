/** Ids to text as they come: text is given out as soon as its UTF-8 characters are complete, never half of one. */
export class StreamDecoder {
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  constructor(readonly bytesOf: (id: number) => Uint8Array) {}

  /** The text that this id completes; often empty in the middle of a character. */
  push(id: number): string {
    return this.#decoder.decode(this.bytesOf(id), { stream: true });
  }

  /** What is left: U+FFFD if the ids ended inside a character, else nothing. The decoder can then be used anew. */
  end(): string {
    return this.#decoder.decode();
  }
}
