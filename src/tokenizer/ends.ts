/** A growing list of piece ends: byte offsets, ascending. */
export class Ends {
  /** Only the first `length` entries count. */
  at: Int32Array = new Int32Array(1024);
  length = 0;

  push(end: number): void {
    if (this.length === this.at.length) {
      const larger = new Int32Array(this.at.length * 2);
      larger.set(this.at);
      this.at = larger;
    }
    this.at[this.length++] = end;
  }

  clear(): void {
    this.length = 0;
  }
}

/**
 * Cuts `bytes[start, end)`, well-formed UTF-8, into pieces: pushes the end of each piece in order, the last being `end`.
 * An empty range has no piece.
 */
export type Splitter = (bytes: Uint8Array, start: number, end: number, ends: Ends) => void;
