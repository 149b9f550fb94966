import { describe, expect, it } from 'vitest';
import { statusLine } from '../../src/terminal/status.js';
import { textWidth } from '../../src/terminal/width.js';

const ERASE = '\u001b[2K';
const ERASED = '\u2400';

/** What a terminal shows after `text`: carriage return, erase line and newline are understood, and lines wrap. */
function screen(text: string, columns: number): string[] {
  const lines = [''];
  let column = 0;
  for (const part of text.replaceAll(ERASE, ERASED)) {
    const last = lines.length - 1;
    if (part === '\r') column = 0;
    else if (part === '\n') {
      lines.push('');
      column = 0;
    } else if (part === ERASED) lines[last] = ' '.repeat(column);
    else if (column >= columns) {
      lines.push(part);
      column = 1;
    } else {
      lines[last] = lines[last]!.padEnd(column).slice(0, column) + part + lines[last]!.slice(column + 1);
      column++;
    }
  }
  return lines;
}

function terminal(columns: number) {
  const listeners = new Set<() => void>();
  return {
    isTTY: true,
    columns,
    text: '',
    listeners,
    write(text: string) {
      this.text += text;
    },
    on: (_: 'resize', listener: () => void) => listeners.add(listener),
    off: (_: 'resize', listener: () => void) => listeners.delete(listener),
  };
}

describe('a status line on a terminal', () => {
  it('is rewritten in place, stays below what is logged, and stands at the end', () => {
    const output = terminal(40);
    let time = 0;
    const status = statusLine(output, { env: {}, now: () => time++ });
    status.update(1, 'step 1, a rather long one');
    status.update(2, 'step 2');
    expect(screen(output.text, 40)).toEqual(['step 2']);
    status.log('saved');
    status.update(3, 'step 3');
    expect(screen(output.text, 40)).toEqual(['saved', 'step 3']);
    status.done();
    expect(screen(output.text, 40)).toEqual(['saved', 'step 3', '']);
    expect(output.listeners.size).toBe(0);
  });

  it('never wraps, also after the window became narrower', () => {
    const output = terminal(30);
    let time = 0;
    const status = statusLine(output, { env: {}, now: () => time++ });
    status.update(1, 'x'.repeat(100));
    expect(screen(output.text, 30)).toHaveLength(1);
    output.columns = 12;
    const before = output.text.length;
    for (const listener of output.listeners) listener();
    status.update(2, '日本語'.repeat(9));
    for (const drawn of output.text.slice(before).split('\r\u001b[2K')) expect(textWidth(drawn)).toBeLessThan(12);
    expect(output.text.length).toBeGreaterThan(before);
  });

  it('is not redrawn more often than can be seen, but ends with the last state', () => {
    const output = terminal(40);
    let time = 0;
    const status = statusLine(output, { env: {}, now: () => time });
    for (let step = 0; step < 1000; step++, time += 0.001) status.update(step, `step ${step}`);
    expect(output.text.split('\r').length).toBeLessThan(13);
    status.done();
    expect(screen(output.text, 40)).toEqual(['step 999', '']);
  });

  it('that never said anything leaves nothing', () => {
    const output = terminal(40);
    statusLine(output, { env: {} }).done();
    expect(output.text).toBe('');
  });
});

describe('a status line in a pipe or a CI log', () => {
  function lines(options: { everySeconds?: number; everySteps?: number }, secondsPerStep: number, isTTY = false) {
    let text = '';
    let time = 0;
    const output = { isTTY, columns: 10, write: (part: string) => (text += part) };
    const status = statusLine(output, { ...options, env: isTTY ? { CI: '1' } : {}, now: () => time });
    for (let step = 1; step <= 100; step++, time += secondsPerStep) {
      status.update(step, `step ${step} of the whole run`);
      if (step === 50) status.log('halfway');
    }
    status.done();
    expect(/[\r]/.test(text) || text.includes('\u001b')).toBe(false);
    return text
      .trimEnd()
      .split('\n')
      .map((line) => Number(/^step (\d+) of the whole run$/.exec(line)?.[1] ?? Number.NaN));
  }

  it('is printed by the clock, with the first and the last state', () => {
    expect(lines({ everySeconds: 30 }, 1)).toEqual([1, 31, Number.NaN, 61, 91, 100]);
  });

  it('is printed by steps when those come first', () => {
    expect(lines({ everySteps: 40 }, 0.001)).toEqual([1, 41, Number.NaN, 81, 100]);
  });

  it('is plain in CI even where a terminal is pretended', () => {
    expect(lines({ everySeconds: 50 }, 1, true)).toEqual([1, Number.NaN, 51, 100]);
  });
});
