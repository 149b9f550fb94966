import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { barChart, heatMap, lineChart } from '../../src/recipes/report/charts.js';
import { escapeHtml } from '../../src/recipes/report/html.js';
import { reportOf } from '../../src/recipes/report/report.js';
import { rowsIn } from './row.js';
import { tinyRecipe } from './tiny.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-report-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const row = rowsIn(folder);

const hostile = '<think>1 < 2 & "so"</think><script>alert(1)</script><img src=x onerror=\'y\'>';

describe('the report', () => {
  const html = reportOf(tinyRecipe('out', 'text'), [row('R1-Zero', hostile), row(hostile, 'fine')]);

  it('shows the figures of every model, its curves, its experts and its answers', () => {
    for (const text of ['R1-Zero', '25.0 %', '12.5 %', '1m 01s', '7 held-out questions', 'What is 1 + 1?', 'expert 3'])
      expect(html).toContain(text);
    expect(html.match(/<path class="series/g)).toHaveLength(4); // loss and reward of two models
  });

  it('needs nothing but itself', () => {
    expect(html).not.toMatch(/https?:|<script|<link|@import|url\(|<img|<iframe/);
    expect(html).toContain('prefers-color-scheme: dark');
  });

  it('is well formed, whatever the models write', () => {
    const open: string[] = [];
    for (const [, close, name, selfClosed] of html.matchAll(/<(\/?)([a-z][a-z0-9]*)(?:[^>"]|"[^"]*")*?(\/?)>/g)) {
      if (selfClosed || ['meta', 'br'].includes(name!)) continue;
      if (close) expect(open.pop()).toBe(name);
      else open.push(name!);
    }
    expect(open).toEqual([]);
  });
});

describe('text in the report', () => {
  it('comes back as it was, with nothing that a browser would read as markup', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const escaped = escapeHtml(text);
        expect(escaped).not.toMatch(/[<>"']/);
        expect(escaped.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code)))).toBe(text);
      }),
      { numRuns: 50 },
    );
  });
});

describe('charts', () => {
  it('keep within their frame, and leave out what is no number', () => {
    const points: [number, number][] = [
      [1, 5],
      [2, Number.NaN],
      [3, -5],
    ];
    const path = /d="([^"]+)"/.exec(lineChart('loss', points))![1]!;
    const numbers = [...path.matchAll(/[\d.]+/g)].map(([n]) => Number(n));
    expect(numbers).toHaveLength(4);
    for (const n of numbers) expect(n).toBeLessThanOrEqual(420);
    expect(numbers[1]).toBeLessThan(numbers[3]!); // larger values are higher up
    expect(lineChart('loss', [])).toContain('Nothing was recorded');
  });

  it('draw a bar of twice the length for twice the value', () => {
    const chart = barChart(
      'b',
      [
        { label: 'x', values: [0.5] },
        { label: 'y', values: [1] },
      ],
      ['share'],
    );
    const lengths = [...chart.matchAll(/<rect[^>]* width="([\d.]+)"/g)].map(([, h]) => Number(h));
    expect(lengths[1]! / lengths[0]!).toBeCloseTo(2, 1);
  });

  it('average long lines, so that the page stays small', () => {
    const long = Array.from({ length: 100_000 }, (_, i): [number, number] => [i, i]);
    expect(lineChart('long', long).length).toBeLessThan(10_000);
  });

  it('say so where a model has no experts', () => {
    expect(heatMap('load', [])).toContain('no routed experts');
  });
});
