import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { plotLines } from '../../src/terminal/plot.js';
import { textWidth } from '../../src/terminal/width.js';

const curve = (n: number, f: (x: number) => number) => Array.from({ length: n }, (_, i) => [i, f(i)] as const);

describe('a plot', () => {
  it('draws a falling line from the upper left to the lower right, with both axes', () => {
    const text = plotLines([{ points: curve(11, (x) => 10 - x) }], {
      width: 20,
      height: 5,
      ascii: true,
      xLabel: 'step',
    });
    expect(text.split('\n')).toEqual([
      '10 +***',
      '   |   ***',
      ' 5 +      ****',
      '   |          ***',
      ' 0 +             ***',
      '   +----------------',
      '    0        10 step',
    ]);
  });

  it('has as many dots in braille as its resolution allows', () => {
    const [top, bottom] = plotLines(
      [
        {
          points: [
            [0, 0],
            [1, 1],
          ],
        },
      ],
      { width: 20, height: 2 },
    ).split('\n');
    // A diagonal over 2 rows of braille: 8 dots high, rising to the right.
    expect(top!.at(-1)).toBe('⠉');
    expect(bottom!.replace(/^.*[┤│]/, '').at(0)).toBe('⣀');
    expect(plotLines([{ points: curve(50, Math.sin) }], { width: 40 })).toMatch(/[\u2801-\u28ff]/);
  });

  it('is never wider or higher than asked, whatever the points are', () => {
    const value = fc.oneof(fc.double(), fc.integer({ min: -5, max: 5 }), fc.constant(Number.NaN));
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.tuple(value, value), { maxLength: 20 }), { maxLength: 3 }),
        fc.integer({ min: 20, max: 100 }),
        fc.integer({ min: 2, max: 20 }),
        fc.boolean(),
        (all, width, height, ascii) => {
          const bounded = all.map((points) => ({
            points: points.map(([x, y]) => [Math.fround(x / 1e290), Math.fround(y / 1e290)] as const),
          }));
          const lines = plotLines(bounded, { width, height, ascii, xLabel: 'step' }).split('\n');
          for (const line of lines) expect(textWidth(line)).toBeLessThanOrEqual(Math.max(width, 21));
          expect(lines.length === height + 2 || lines.length === 1).toBe(true);
        },
      ),
    );
  });

  it('leaves a gap at a NaN', () => {
    const rows = plotLines([{ points: curve(17, (x) => (x > 4 && x < 12 ? Number.NaN : 1)) }], {
      width: 24,
      height: 3,
      ascii: true,
    }).split('\n');
    expect(rows.find((row) => row.includes('*'))).toMatch(/\*+ {6,}\*+/);
  });

  it('puts a flat line in the middle, and a single point somewhere', () => {
    const rows = plotLines([{ points: curve(9, () => 3) }], { width: 30, height: 5, ascii: true }).split('\n');
    expect(rows.findIndex((row) => row.includes('*'))).toBe(2);
    expect(plotLines([{ points: [[5, 5]] }], { width: 30, ascii: true })).toContain('*');
  });

  it('names no step between two steps', () => {
    const axis = (last: number) =>
      plotLines([{ points: [1, last].map((x) => [x, x] as const) }], { width: 40, xLabel: 'step' })
        .split('\n')
        .at(-1)!;
    expect(axis(6).trim()).toMatch(/^1 +6 step$/);
    expect(axis(7).trim()).toMatch(/^1 +4 +7 step$/);
    expect(axis(100).trim()).toMatch(/^1 +51 +100 step$/);
  });

  it('tells series apart by label, mark and paint', () => {
    const paint = (text: string) => `\u001b[31m${text}\u001b[39m`;
    const text = plotLines(
      [
        { points: curve(9, (x) => x), label: 'train' },
        { points: curve(9, (x) => 8 - x), label: 'validation', paint },
      ],
      { width: 40, height: 6, ascii: true },
    );
    expect(text.split('\n')[0]).toBe('* train   \u001b[31m+ validation\u001b[39m');
    expect(text).toContain(paint('+'));
    expect(text).toContain('*');
  });

  it('without points says so', () => {
    expect(plotLines([{ points: [[1, Number.NaN]] }])).toBe('(nothing to plot yet)');
    expect(plotLines([])).toBe('(nothing to plot yet)');
  });
});
