import type { Tokenizer } from '../tokenizer/index.js';
import type { TokenEvent } from './engine.js';
import type { FinishReason } from './sequence.js';

/** A piece of text as it is generated; the last one carries why it ended. */
export interface TextPiece {
  readonly text: string;
  readonly finish?: FinishReason;
}

/** A model may sample ids beyond its tokenizer's: vocabularies are padded to round sizes. They stand for nothing. */
export const shown = { skipSpecial: true, skipUnknown: true } as const;

/**
 * The tokens of one completion as text that may be shown. Pieces end at UTF-8 boundaries, and text that may be the start of a
 * stop string is held back until it is clear; behind a stop string nothing more is said.
 */
export class TextPieces {
  private readonly decoder: ReturnType<Tokenizer['stream']>;
  private held = '';
  private ended = false;

  constructor(
    tokenizer: Tokenizer,
    private readonly stops: readonly string[] = [],
  ) {
    this.decoder = tokenizer.stream(shown);
  }

  /** Whether the text is over: the completion need not be generated further. */
  get finished(): boolean {
    return this.ended;
  }

  /** What is to be shown now that this token has come; undefined when nothing is. */
  push({ id, finish }: Pick<TokenEvent, 'id' | 'finish'>): TextPiece | undefined {
    if (this.ended) return undefined;
    this.held += id === undefined ? '' : this.decoder.push(id);
    if (finish) this.held += this.decoder.end();
    const cut = firstStop(this.held, this.stops);
    if (cut >= 0) {
      this.ended = true;
      return { text: this.held.slice(0, cut), finish: 'stop' };
    }
    const ready = finish ? this.held.length : this.held.length - heldBack(this.held, this.stops);
    const text = this.held.slice(0, ready);
    this.held = this.held.slice(ready);
    this.ended = finish !== undefined;
    return text || this.ended ? { text, ...(finish && { finish }) } : undefined;
  }
}

/** Where the first stop string begins, or -1. */
export function firstStop(text: string, stops: readonly string[]): number {
  const found = stops.map((s) => text.indexOf(s)).filter((at) => at >= 0);
  return found.length > 0 ? Math.min(...found) : -1;
}

/** Characters at the end of `text` that begin some stop string. */
export function heldBack(text: string, stops: readonly string[]): number {
  let most = 0;
  for (const stop of stops)
    for (let n = Math.min(stop.length - 1, text.length); n > most; n--) if (stop.startsWith(text.slice(-n))) most = n;
  return most;
}
