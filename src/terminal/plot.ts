import { formatNumber } from './format.js';
import { padText, textWidth } from './width.js';

export interface Series {
  /** In the order of x; a value that is not finite leaves a gap in the line. */
  readonly points: readonly (readonly [x: number, y: number])[];
  readonly label?: string;
  /** Applied to the marks and the label, to tell the series apart by colour. */
  readonly paint?: (text: string) => string;
}

export interface PlotOptions {
  /** Columns in all, axis and its figures included. */
  readonly width?: number;
  /** Rows of the drawing itself; axis, figures and labels come on top. */
  readonly height?: number;
  /** Plain ASCII instead of braille dots and box drawing. */
  readonly ascii?: boolean;
  /** Written behind the figures of the x axis: `step`. */
  readonly xLabel?: string;
}

export interface Range {
  readonly low: number;
  readonly high: number;
}

const LEAST_WIDTH = 20;
const LEAST_HEIGHT = 2;

/**
 * Draws lines through points, with both axes, as text. A braille character holds 2 x 4 dots, so a plot of 60 columns
 * shows 120 steps apart. No line is wider than `width` (at least 20). Without any finite point it says so instead.
 */
export function plotLines(series: readonly Series[], options: PlotOptions = {}): string {
  const { ascii = false, xLabel = '' } = options;
  const width = Math.max(LEAST_WIDTH, Math.floor(options.width ?? 80));
  const height = Math.max(LEAST_HEIGHT, Math.floor(options.height ?? 12));
  const finite = series.flatMap(({ points }) => points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y)));
  if (finite.length === 0) return '(nothing to plot yet)';
  const x = rangeOf(finite.map(([value]) => value));
  const y = widened(rangeOf(finite.map(([, value]) => value)));
  const yTicks = ticks(y, Math.max(2, Math.floor(height / 3)));
  const labelColumns = Math.max(...yTicks.map((tick) => tick.text.length));
  const columns = width - labelColumns - 2;
  const rows = draw(series, x, y, { columns, rows: height, ascii });
  const dotsPerRow = ascii ? 1 : 4;
  const tickOfRow = new Map(
    yTicks.map(({ value, text }) => [Math.floor(dotOf(value, y, height * dotsPerRow) / dotsPerRow), text]),
  );
  const box = ascii
    ? { tick: '+', side: '|', corner: '+', floor: '-' }
    : { tick: '┤', side: '│', corner: '└', floor: '─' };
  const body = rows.map((row, i) => {
    const text = tickOfRow.get(i);
    return `${padText(text ?? '', labelColumns, 'right')} ${text === undefined ? box.side : box.tick}${row}`.trimEnd();
  });
  const margin = ' '.repeat(labelColumns + 1);
  const floor = `${margin}${box.corner}${box.floor.repeat(columns)}`;
  return [...legend(series, width, ascii), ...body, floor, `${margin} ${xFigures(x, columns, xLabel)}`].join('\n');
}

function rangeOf(values: readonly number[]): Range {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return { low, high };
}

/** A flat line needs some height to lie in the middle of. */
function widened({ low, high }: Range): Range {
  if (high > low) return { low, high };
  const margin = Math.abs(low) / 10 || 1;
  return { low: low - margin, high: high + margin };
}

export interface Tick {
  readonly value: number;
  readonly text: string;
}

/** Round figures (1, 2 or 5 times a power of ten apart) within a range, about `wanted` of them. */
export function ticks({ low, high }: Range, wanted: number): Tick[] {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * 0.999) ?? rough;
  const decimals = Math.max(0, -Math.floor(Math.log10(step * 1.001)));
  const found: Tick[] = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) {
    const value = i * step;
    found.push({ value, text: decimals > 6 || Math.abs(value) >= 1e6 ? formatNumber(value) : value.toFixed(decimals) });
  }
  return found.length > 0 ? found : [{ value: low, text: formatNumber(low) }];
}

/** The dot, counted from the top, that a height falls on. */
function dotOf(value: number, y: Range, dots: number): number {
  return Math.round(((y.high - value) / (y.high - y.low)) * (dots - 1));
}

/** A legend line for series that have labels. */
function legend(series: readonly Series[], width: number, ascii: boolean): string[] {
  const entries = series.flatMap(({ label, paint = same }, i) =>
    label === undefined ? [] : [paint(`${ascii ? ASCII_MARKS[i % ASCII_MARKS.length] : '━━'} ${label}`)],
  );
  const line = entries.join('   ');
  return entries.length === 0 || textWidth(line) > width ? entries : [line];
}

const same = (text: string) => text;

/** First and last x under the ends of the axis, and the one in the middle where there is room. */
function xFigures({ low, high }: Range, columns: number, label: string): string {
  const last = label === '' ? formatX(high) : `${formatX(high)} ${label}`;
  const first = formatX(low);
  const centre = low + (high - low) / 2;
  // Steps are whole: half a step more or less is not to be seen among many, and is no step among few.
  const whole = Number.isInteger(low) && Number.isInteger(high);
  const middle = formatX(whole && high - low > 10 ? Math.round(centre) : centre);
  const start = Math.floor((columns - middle.length) / 2);
  const fits =
    high > low &&
    (!whole || Number.isInteger(Number(middle))) &&
    start > first.length + 2 &&
    start + middle.length + 2 < columns - last.length;
  const left = fits ? first.padEnd(start) + middle : first;
  const gap = columns - left.length - last.length;
  return gap > 0 && high > low ? left + ' '.repeat(gap) + last : last.slice(0, columns);
}

function formatX(value: number): string {
  return Number.isSafeInteger(value) ? String(value) : formatNumber(value);
}

interface Canvas {
  readonly columns: number;
  readonly rows: number;
  readonly ascii: boolean;
}

const ASCII_MARKS = ['*', '+', 'o', 'x'];

/** Bit of each dot of a braille character, by row and column within it. */
const BRAILLE_DOTS = [
  [0x01, 0x08],
  [0x02, 0x10],
  [0x04, 0x20],
  [0x40, 0x80],
] as const;

/** The drawing as rows of text, each at most `columns` wide. Where series meet, the later one is on top. */
function draw(series: readonly Series[], x: Range, y: Range, { columns, rows, ascii }: Canvas): string[] {
  const [perColumn, perRow] = ascii ? [1, 1] : [2, 4];
  const dots = new Uint8Array(columns * rows);
  const owner = new Int16Array(columns * rows).fill(-1);
  const right = columns * perColumn - 1;
  for (const [index, { points }] of series.entries()) {
    const set = (px: number, py: number) => {
      const cell = Math.floor(py / perRow) * columns + Math.floor(px / perColumn);
      dots[cell]! |= BRAILLE_DOTS[(py % perRow) as 0 | 1 | 2 | 3][(px % perColumn) as 0 | 1];
      owner[cell] = index;
    };
    let before: readonly [number, number] | undefined;
    for (const [px, py] of points) {
      const place = Number.isFinite(px) && Number.isFinite(py) ? toDots(px, py) : undefined;
      if (place !== undefined) line(before ?? place, place, set);
      before = place;
    }
  }
  function toDots(px: number, py: number): readonly [number, number] {
    const across = x.high > x.low ? (px - x.low) / (x.high - x.low) : 0.5;
    return [Math.round(across * right), dotOf(py, y, rows * perRow)];
  }
  return Array.from({ length: rows }, (_, row) => {
    let text = '';
    for (let column = 0; column < columns; column++) {
      const cell = row * columns + column;
      const index = owner[cell]!;
      const mark = ascii ? ASCII_MARKS[index % ASCII_MARKS.length]! : String.fromCharCode(0x2800 + dots[cell]!);
      text += index < 0 ? ' ' : (series[index]!.paint ?? same)(mark);
    }
    return text;
  });
}

/** All dots between two, ends included, without a gap: one per step along the longer side. */
function line(
  from: readonly [number, number],
  to: readonly [number, number],
  set: (x: number, y: number) => void,
): void {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const steps = Math.max(Math.abs(dx), Math.abs(dy), 1);
  for (let i = 0; i <= steps; i++) set(Math.round(from[0] + (dx * i) / steps), Math.round(from[1] + (dy * i) / steps));
}
