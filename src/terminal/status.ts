import { isInteractive, type Output } from './style.js';
import { fitText } from './width.js';

/** A line that says where a long task is. */
export interface StatusLine {
  /** Shows `text` as the state after `step`; it must be one line. Cheap enough to be called at every step. */
  update(step: number, text: string): void;
  /** Prints a line that stays, above the status line. */
  log(text: string): void;
  /** Leaves the last state standing and ends; nothing may follow. */
  done(): void;
}

export interface StatusOptions {
  /** Where output is no terminal: the least seconds between two lines (default 10), whichever comes first ... */
  readonly everySeconds?: number;
  /** ... and the most steps between two lines (default: no such limit). */
  readonly everySteps?: number;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Seconds on a clock that is never set back; a seam for tests. */
  readonly now?: () => number;
}

/** More often than this no eye can follow, and a slow terminal would hold up the training. */
const REDRAW_SECONDS = 0.1;

/**
 * On a terminal, one line that is rewritten in place and cut to the width, also after a resize. In pipes, files and CI
 * logs, plain lines now and then: the first state, the last one, and in between as often as the options say.
 */
export function statusLine(output: Output, options: StatusOptions = {}): StatusLine {
  const { env = process.env, now = () => performance.now() / 1000 } = options;
  return isInteractive(output, env) ? rewrittenLine(output, now) : occasionalLines(output, options, now);
}

const ERASE_LINE = '\r\u001b[2K';

function rewrittenLine(output: Output, now: () => number): StatusLine {
  let current = '';
  let drawnAt = Number.NEGATIVE_INFINITY;
  // One column stays free: a full line makes some terminals wrap, and then the next erase misses half of it.
  const shown = () => fitText(current, (output.columns ?? 80) - 1);
  const draw = () => output.write(ERASE_LINE + shown());
  // A narrower window has wrapped the old line; drawing at once keeps the mess to that one line.
  const resized = () => void (current !== '' && draw());
  output.on?.('resize', resized);
  return {
    update(_, text) {
      current = text;
      if (now() - drawnAt < REDRAW_SECONDS) return;
      drawnAt = now();
      draw();
    },
    log: (text) => void output.write(`${ERASE_LINE}${text}\n${shown()}`),
    done() {
      output.off?.('resize', resized);
      if (current !== '') output.write(`${ERASE_LINE}${shown()}\n`);
      current = '';
    },
  };
}

function occasionalLines(output: Output, options: StatusOptions, now: () => number): StatusLine {
  const { everySeconds = 10, everySteps = Number.POSITIVE_INFINITY } = options;
  let pending: string | undefined;
  let printedAt = Number.NEGATIVE_INFINITY;
  let printedStep = Number.NEGATIVE_INFINITY;
  return {
    update(step, text) {
      pending = text;
      if (now() - printedAt < everySeconds && step - printedStep < everySteps) return;
      printedAt = now();
      printedStep = step;
      pending = undefined;
      output.write(`${text}\n`);
    },
    log: (text) => void output.write(`${text}\n`),
    done() {
      if (pending !== undefined) output.write(`${pending}\n`);
      pending = undefined;
    },
  };
}
