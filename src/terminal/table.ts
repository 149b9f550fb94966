import { fitText, padText, textWidth } from './width.js';

export interface Column {
  readonly title: string;
  /** Figures go to the right, which is where the default for this is decided: `left`. */
  readonly align?: 'left' | 'right';
}

export interface TableOptions {
  /** Columns of the terminal; the widest columns are cut until the table fits. */
  readonly width?: number;
  /** Applied to the line of titles, once it is laid out. */
  readonly titleStyle?: (text: string) => string;
}

const GAP = '  ';
const NARROWEST = 3;

/**
 * A table with aligned columns, as lines joined by newlines, without a newline at the end. Widths are those on the
 * screen: wide characters count twice, colours nothing. No line ends in spaces.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  { width = Number.POSITIVE_INFINITY, titleStyle = (text) => text }: TableOptions = {},
): string {
  const natural = columns.map(({ title }, i) =>
    Math.max(textWidth(title), ...rows.map((row) => textWidth(row[i] ?? ''))),
  );
  const widths = shrink(natural, width - GAP.length * (columns.length - 1));
  const line = (cells: readonly string[]) =>
    columns
      .map(({ align }, i) => padText(fitText(cells[i] ?? '', widths[i]!), widths[i]!, align))
      .join(GAP)
      .trimEnd();
  return [titleStyle(line(columns.map(({ title }) => title))), ...rows.map(line)].join('\n');
}

/** Takes from the widest column, one at a time, until the sum fits or no column can give. */
function shrink(natural: readonly number[], room: number): number[] {
  const widths = [...natural];
  let excess = widths.reduce((sum, width) => sum + width, 0) - room;
  for (; excess > 0; excess--) {
    const widest = widths.indexOf(Math.max(...widths));
    if (widths[widest]! <= NARROWEST) break;
    widths[widest]!--;
  }
  return widths;
}
