import { heldBack } from '../generate/pieces.js';

const OPEN = '<think>';
const CLOSE = '</think>';

/** A part of an answer: what the model thought, what it says, or both. */
export interface Part {
  readonly reasoning: string;
  readonly content: string;
}

/**
 * Parts an answer that begins with thoughts in <think>..</think> from what is said behind them, piece by piece. Models whose
 * template opens the thoughts itself begin `inside` them. An answer that begins otherwise is all content.
 */
export class Thoughts {
  private held = '';
  private state: 'beginning' | 'thinking' | 'between' | 'saying';

  constructor(inside: boolean) {
    this.state = inside ? 'thinking' : 'beginning';
  }

  /** What is clear with this piece; the `last` one leaves nothing open. */
  push(text: string, last: boolean): Part {
    this.held += text;
    let reasoning = '';
    if (this.state === 'beginning') this.begin(last);
    if (this.state === 'thinking') reasoning = this.think(last);
    if (this.state === 'between') {
      this.held = this.held.trimStart();
      if (this.held !== '') this.state = 'saying';
    }
    return { reasoning, content: this.state === 'saying' ? this.take(this.held.length) : '' };
  }

  private begin(last: boolean): void {
    const rest = this.held.trimStart();
    if (rest.startsWith(OPEN)) {
      this.held = rest.slice(OPEN.length);
      this.state = 'thinking';
    } else if (last || !OPEN.startsWith(rest)) this.state = 'saying';
  }

  private think(last: boolean): string {
    const end = this.held.indexOf(CLOSE);
    if (end < 0) return this.take(this.held.length - (last ? 0 : heldBack(this.held, [CLOSE])));
    const reasoning = this.take(end);
    this.held = this.held.slice(CLOSE.length);
    this.state = 'between';
    return reasoning;
  }

  private take(length: number): string {
    const taken = this.held.slice(0, length);
    this.held = this.held.slice(length);
    return taken;
  }
}
