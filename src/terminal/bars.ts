import { fitText, padText, textWidth } from './width.js';

export interface Bar {
  readonly label: string;
  readonly value: number;
  /** Printed behind the bar; the value itself when absent. */
  readonly text?: string;
}

export interface BarOptions {
  /** Columns for label, bar and text together. */
  readonly width?: number;
  /** The value of a full bar; the largest of the values when absent. */
  readonly full?: number;
  /** A value to mark in every row, such as the load of an expert when all are equal. */
  readonly mark?: number;
  /** Plain ASCII instead of block characters. */
  readonly ascii?: boolean;
}

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const LONGEST_LABEL = 24;

/**
 * One row a value: label, bar, text. Bars are exact to an eighth of a column; a value above zero always shows, and one
 * beyond `full` ends in an arrow.
 */
export function formatBars(bars: readonly Bar[], options: BarOptions = {}): string {
  const { width = 80, ascii = false } = options;
  const values = bars.map(({ value }) => value).filter(Number.isFinite);
  const full = options.full ?? Math.max(0, ...values);
  const labels = bars.map(({ label }) => fitText(label, LONGEST_LABEL));
  const texts = bars.map(({ text, value }) => text ?? String(value));
  const labelWidth = Math.max(0, ...labels.map(textWidth));
  const textColumns = Math.max(0, ...texts.map(textWidth));
  const room = Math.max(1, width - labelWidth - textColumns - 2);
  const mark = options.mark === undefined || full <= 0 ? undefined : Math.round((options.mark / full) * room);
  return bars
    .map(({ value }, i) => {
      const bar = withMark(barOf(full > 0 ? value / full : 0, room, ascii), mark, room, ascii);
      return `${padText(labels[i]!, labelWidth)} ${bar} ${padText(texts[i]!, textColumns, 'right')}`;
    })
    .join('\n');
}

/** Exactly `room` columns. */
function barOf(share: number, room: number, ascii: boolean): string {
  if (!(share > 0)) return ' '.repeat(room);
  if (share > 1) return (ascii ? '#' : '█').repeat(room - 1) + (ascii ? '>' : '▶');
  if (ascii) return '#'.repeat(Math.max(1, Math.round(share * room))).padEnd(room);
  const eighths = Math.max(1, Math.round(share * room * 8));
  return ('█'.repeat(Math.floor(eighths / 8)) + EIGHTHS[eighths % 8]!).padEnd(room);
}

/** Draws the mark where the bar does not cover it. */
function withMark(bar: string, mark: number | undefined, room: number, ascii: boolean): string {
  if (mark === undefined || mark < 0 || mark >= room || bar[mark] !== ' ') return bar;
  return bar.slice(0, mark) + (ascii ? '|' : '┊') + bar.slice(mark + 1);
}
