import { EventEmitter } from 'node:events';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatBars } from '../../src/terminal/bars.js';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatNumber,
  formatPercent,
  formatUnit,
  remainingSeconds,
} from '../../src/terminal/format.js';
import { columnsOf, ignoreClosedPipe, isInteractive, styleFor } from '../../src/terminal/style.js';
import { formatTable } from '../../src/terminal/table.js';
import { fitText, padText, plainText, textWidth } from '../../src/terminal/width.js';

const RED = '\u001b[31m';
const OFF = '\u001b[39m';

describe('the width of text', () => {
  it.each([
    ['abc', 3],
    ['', 0],
    ['é', 1],
    ['e\u0301', 1],
    ['日本語', 6],
    ['한국', 4],
    ['ﾊﾝ', 2],
    ['ＡＢ', 4],
    ['👍', 2],
    ['👩‍👩‍👧', 2],
    ['🇩🇪', 2],
    ['❤️', 2],
    ['✓', 1],
    ['█⣿', 2],
    ['\u200b\u00ad', 0],
    [`${RED}red${OFF}`, 3],
    ['\u001b]8;;https://example.org\u0007link\u001b]8;;\u0007', 4],
  ])('of %j is %d', (text, width) => {
    expect(textWidth(text)).toBe(width);
  });

  it('is never exceeded by fitted text, which begins as the text does', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.nat(20), (text, columns) => {
        const fitted = fitText(text, columns);
        expect(textWidth(fitted)).toBeLessThanOrEqual(columns);
        expect(text.startsWith(fitted.replace(/…$/, '')) || text === fitted).toBe(true);
        if (textWidth(text) <= columns) expect(fitted).toBe(text);
      }),
    );
  });

  it('is kept when colours are cut, and they are closed', () => {
    expect(fitText(`ab${RED}cdef${OFF}`, 4)).toBe(`ab${RED}c…\u001b[0m`);
    expect(fitText('日本語', 4)).toBe('日…');
    expect(fitText('abc', 0)).toBe('');
    expect(plainText(`${RED}x${OFF}`)).toBe('x');
    expect(padText('日', 4, 'right')).toBe('  日');
  });
});

describe('figures', () => {
  it.each([
    [0, '0'],
    [7, '7'],
    [999, '999'],
    [999.6, '1.00k'],
    [1000, '1.00k'],
    [12_345, '12.3k'],
    [671e9, '671G'],
    [999_950, '1.00M'],
    [-1500, '-1.50k'],
    [0.25, '0.250'],
    [-0.0001, '0.000'],
    [Number.NaN, 'NaN'],
  ])('count %d as %s', (value, text) => {
    expect(formatCount(value)).toBe(text);
  });

  it('have units', () => {
    expect(formatUnit(5230, 'tok/s')).toBe('5.23 ktok/s');
    expect(formatUnit(12, 'tok/s')).toBe('12 tok/s');
    expect(formatBytes(1536)).toBe('1.50 KiB');
    expect(formatBytes(1023)).toBe('1023 B');
    expect(formatBytes(24 * 2 ** 30)).toBe('24.0 GiB');
    expect(formatPercent(0.4567)).toBe('46%');
    expect(formatPercent(0.0456)).toBe('4.6%');
    expect(formatPercent(-1e-9)).toBe('0.0%');
  });

  it.each([
    [2.34567, '2.346'],
    [0.00034567, '3.46e-4'],
    [0.0003, '3e-4'],
    [9.99996, '10.00'],
    [123456, '123456'],
    [12345678, '1.23e7'],
    [0, '0'],
    [-0, '0'],
    [-0.5, '-0.5000'],
    [Number.POSITIVE_INFINITY, 'Infinity'],
  ])('of measurement: %d as %s', (value, text) => {
    expect(formatNumber(value)).toBe(text);
  });

  it.each([
    [0, '0s'],
    [-5, '0s'],
    [0.0001, '1ms'],
    [0.85, '850ms'],
    [0.9999, '1s'],
    [59.4, '59s'],
    [59.6, '1m 00s'],
    [187, '3m 07s'],
    [3599.6, '1h 00m'],
    [7500, '2h 05m'],
    [86_399, '1d 00h'],
    [4 * 86_400 + 3 * 3600, '4d 03h'],
    [Number.NaN, '?'],
    [Number.POSITIVE_INFINITY, '?'],
  ])('of time: %d seconds as %s', (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text);
  });

  it('foretell the end only when something is known', () => {
    expect(remainingSeconds(25, 100, 10)).toBe(30);
    expect(remainingSeconds(0, 100, 10)).toBeNaN();
    expect(remainingSeconds(5, 100, -1)).toBeNaN();
    expect(remainingSeconds(100, 100, 10)).toBe(0);
  });
});

describe('colours', () => {
  const terminal = { isTTY: true, write: () => true };
  const pipe = { write: () => true };
  it.each([
    ['a terminal', terminal, {}, true],
    ['a pipe', pipe, {}, false],
    ['NO_COLOR', terminal, { NO_COLOR: '1' }, false],
    ['an empty NO_COLOR', terminal, { NO_COLOR: '' }, true],
    ['FORCE_COLOR on a pipe', pipe, { FORCE_COLOR: '1' }, true],
    ['FORCE_COLOR=0', terminal, { FORCE_COLOR: '0' }, false],
    ['both', terminal, { NO_COLOR: '1', FORCE_COLOR: '1' }, false],
    ['a dumb terminal', terminal, { TERM: 'dumb' }, false],
  ])('with %s are %#', (_, output, env, colored) => {
    expect(styleFor(output, env).red('x')).toBe(colored ? `${RED}x${OFF}` : 'x');
  });

  it('and rewriting of lines are for people, not for CI', () => {
    expect(isInteractive(terminal, {})).toBe(true);
    expect(isInteractive(terminal, { CI: 'true' })).toBe(false);
    expect(isInteractive(terminal, { CI: 'false' })).toBe(true);
    expect(columnsOf({ ...terminal, columns: 120 })).toBe(120);
    expect(columnsOf({ ...pipe, columns: 120 })).toBe(80);
  });

  it('or not, a reader that goes away does not end the run, but other errors show', () => {
    const output = new EventEmitter();
    ignoreClosedPipe(output);
    output.emit('error', Object.assign(new Error('gone'), { code: 'EPIPE' }));
    expect(() => output.emit('error', new Error('other'))).toThrow('other');
  });
});

describe('a table', () => {
  const columns = [{ title: 'name' }, { title: 'tok/s', align: 'right' }, { title: 'note' }] as const;
  const rows = [
    ['nano', '5.2k', '日本'],
    [`${RED}mini${OFF}`, '12', ''],
  ];

  it('is aligned by what is seen, and no line ends in spaces', () => {
    expect(formatTable(columns, rows).split('\n')).toEqual([
      'name  tok/s  note',
      'nano   5.2k  日本',
      `${RED}mini${OFF}     12`,
    ]);
  });

  it('takes from its widest columns to fit, as far as they can give', () => {
    const wide = [['x'.repeat(40), '1', 'y'.repeat(10)]];
    const lines = formatTable(columns, wide, { width: 30 }).split('\n');
    expect(Math.max(...lines.map(textWidth))).toBe(30);
    expect(lines[1]).toContain('…');
    expect(formatTable(columns, wide, { width: 1 }).split('\n')[1]).toBe('xx…    1  yy…');
  });

  it('fills missing cells and styles its titles', () => {
    const text = formatTable(columns, [['a']], { titleStyle: (title) => `<${title}>` });
    expect(text).toBe('<name  tok/s  note>\na');
  });
});

describe('bars', () => {
  it('are as long as their values, to an eighth of a column', () => {
    const bars = [1, 0.5, 0.0625, 0.001, 0].map((value, i) => ({ label: `expert ${i}`, value }));
    const lines = formatBars(bars, { width: 32 }).split('\n');
    const drawn = lines.map((line) => line.slice(9, 25).trimEnd());
    expect(drawn).toEqual(['█'.repeat(16), '█'.repeat(8), '█', '▏', '']);
    for (const line of lines) expect(textWidth(line)).toBe(32);
  });

  it('mark a value, and show what goes beyond the end', () => {
    const bars = [3, 0.25, Number.NaN].map((value) => ({ label: 'e', value, text: 'x' }));
    expect(formatBars(bars, { width: 12, full: 2, mark: 1 }).split('\n')).toEqual([
      'e ███████▶ x',
      'e █   ┊    x',
      'e     ┊    x',
    ]);
    expect(formatBars(bars, { width: 12, full: 2, mark: 1, ascii: true }).split('\n')[1]).toBe('e #   |    x');
    expect(formatBars([])).toBe('');
  });
});
