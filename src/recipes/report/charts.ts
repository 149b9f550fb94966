import { ticks } from '../../terminal/plot.js';
import { escapeHtml } from './html.js';

/** Pictures as inline SVG. Colours come from the page, so that they follow light and dark. */

export type Point = readonly [x: number, y: number];

const WIDTH = 420;
const HEIGHT = 190;
const MARGIN = { left: 44, right: 12, top: 8, bottom: 22 } as const;

/** More points than this are averaged in buckets; a line of 420 units shows no more. */
const MOST_POINTS = 240;

/** A line over steps, with both axes. Points that are not finite are left out; without any the picture says so. */
export function lineChart(title: string, points: readonly Point[]): string {
  const finite = thinned(points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y)));
  if (finite.length === 0) return figure(title, '<p class="soft">Nothing was recorded.</p>');
  const xs = finite.map(([x]) => x);
  const ys = finite.map(([, y]) => y);
  const x = { low: Math.min(...xs), high: Math.max(...xs) };
  const y = widened(Math.min(...ys), Math.max(...ys));
  const px = (value: number) =>
    MARGIN.left + ((value - x.low) / Math.max(x.high - x.low, 1e-12)) * (WIDTH - MARGIN.left - MARGIN.right);
  const py = heightOf(y);
  const path = finite.map(([a, b], i) => `${i === 0 ? 'M' : 'L'}${round(px(a))} ${round(py(b))}`).join('');
  const ends =
    label(MARGIN.left, HEIGHT - 5, String(x.low), 'start') +
    label(WIDTH - MARGIN.right, HEIGHT - 5, `step ${x.high}`, 'end');
  return figure(title, svg(title, `${yAxis(y)}<path class="series one" d="${path}"/>${ends}`));
}

export interface BarGroup {
  readonly label: string;
  readonly values: readonly number[]; // one or two
}

/** Room for the labels of bars: 28 letters. */
const BAR_LEFT = 158;
const BAR_ROW = 26;

/** Bars in groups, a row each, from zero to the right; the first value of a group in the first colour, the second in the second. */
export function barChart(title: string, groups: readonly BarGroup[], names: readonly string[]): string {
  const high = Math.max(...groups.flatMap(({ values }) => values.filter(Number.isFinite)), 1e-9);
  const px = (value: number) => BAR_LEFT + (value / high) * (WIDTH - BAR_LEFT - MARGIN.right);
  const height = groups.length * BAR_ROW + MARGIN.bottom;
  const bars = groups.map(({ label: text, values }, g) => {
    const thick = (BAR_ROW * 0.75) / values.length;
    const top = g * BAR_ROW + BAR_ROW * 0.125;
    const rows = values.map((value, i) => {
      const width = px(Number.isFinite(value) ? value : 0) - BAR_LEFT;
      const box = `x="${BAR_LEFT}" y="${round(top + i * thick)}" width="${round(width)}" height="${round(thick * 0.92)}"`;
      return `<rect class="bar-${i === 0 ? 'one' : 'two'}" ${box}><title>${escapeHtml(`${text}: ${value}`)}</title></rect>`;
    });
    return rows.join('') + label(BAR_LEFT - 6, top + BAR_ROW * 0.375 + 4, shortened(text, 28), 'end');
  });
  const grid = ticks({ low: 0, high }, 4).map(({ value, text }) => {
    const at = round(px(value));
    const line = `<line class="axis" x1="${at}" x2="${at}" y1="0" y2="${height - MARGIN.bottom}"/>`;
    return line + label(px(value), height - 6, text, 'middle');
  });
  const keys = names.map(
    (name, i) => `<span class="key" style="background:var(--${i === 0 ? 'one' : 'two'})"></span>${escapeHtml(name)}`,
  );
  const legend = names.length > 1 ? `<p class="soft">${keys.join('')}</p>` : '';
  return figure(title, legend + svg(title, grid.join('') + bars.join(''), height));
}

/** Shares of experts, a row per layer; an even share is half as dark as the darkest square can be. */
export function heatMap(title: string, rows: readonly (readonly [layer: number, shares: readonly number[]])[]): string {
  if (rows.length === 0) return figure(title, '<p class="soft">This model has no routed experts.</p>');
  const side = Math.min(26, (WIDTH - MARGIN.left) / Math.max(...rows.map(([, shares]) => shares.length)));
  const squares = rows.flatMap(([layer, shares], r) => [
    label(MARGIN.left - 6, r * (side + 2) + side * 0.7, `layer ${layer}`, 'end'),
    ...shares.map((share, e) => {
      const strength = Math.min((share * shares.length) / 2, 1).toFixed(2);
      const box = `x="${round(MARGIN.left + e * side)}" y="${round(r * (side + 2))}" width="${round(side - 1)}" height="${round(side)}"`;
      const told = `layer ${layer}, expert ${e}: ${(100 * share).toFixed(1)} %`;
      return `<rect ${box} fill="rgb(var(--heat) / ${strength})" stroke="var(--line)"><title>${told}</title></rect>`;
    }),
  ]);
  return figure(title, svg(title, squares.join(''), Math.ceil(rows.length * (side + 2))));
}

const figure = (title: string, inner: string): string =>
  `<div class="card"><h3>${escapeHtml(title)}</h3>${inner}</div>`;

const svg = (title: string, inner: string, height = HEIGHT): string =>
  `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeHtml(title)}">${inner}</svg>`;

interface Range {
  readonly low: number;
  readonly high: number;
}

const heightOf =
  ({ low, high }: Range) =>
  (value: number): number =>
    MARGIN.top + ((high - value) / Math.max(high - low, 1e-12)) * (HEIGHT - MARGIN.top - MARGIN.bottom);

function yAxis(y: Range): string {
  const py = heightOf(y);
  return ticks(y, 4)
    .map(({ value, text }) => {
      const at = round(py(value));
      const line = `<line class="axis" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${at}" y2="${at}"/>`;
      return line + label(MARGIN.left - 6, py(value) + 4, text, 'end');
    })
    .join('');
}

const label = (x: number, y: number, text: string, anchor: 'start' | 'middle' | 'end'): string =>
  `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${escapeHtml(text)}</text>`;

const round = (value: number): string => String(Math.round(value * 10) / 10);

const shortened = (text: string, most: number): string =>
  text.length > most ? `${text.slice(0, Math.max(most - 1, 1))}…` : text;

function widened(low: number, high: number): Range {
  const margin = high > low ? (high - low) * 0.05 : Math.abs(low) / 10 || 1;
  return { low: low - margin, high: high + margin };
}

/** At most MOST_POINTS points: means of neighbours. */
function thinned(points: readonly Point[]): Point[] {
  const size = Math.ceil(points.length / MOST_POINTS);
  if (size <= 1) return [...points];
  return Array.from({ length: Math.ceil(points.length / size) }, (_, i) => {
    const bucket = points.slice(i * size, (i + 1) * size);
    return [bucket.at(-1)![0], bucket.reduce((sum, [, y]) => sum + y, 0) / bucket.length];
  });
}
