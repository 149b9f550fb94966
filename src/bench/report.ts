import { stripVTControlCharacters } from 'node:util';
import { formatDuration, formatPercent, formatUnit } from '../terminal/format.js';
import { formatTable } from '../terminal/table.js';
import { median, type Times } from './measure.js';

/** What a value counts, a second. Higher is better. */
export type Metric =
  | 'tokens_per_s'
  | 'rows_per_s'
  | 'params_per_s'
  | 'tflop_per_s'
  | 'gb_per_s'
  | 'mb_per_s'
  | 'completions_per_s';

/** What every row begins with. */
interface Head {
  readonly rival: string;
  readonly job: string;
  readonly shape: { readonly name: string };
}

/** One measurement: `median`, `min` and `max` are seconds of one of the `n` repetitions; `others` are cores other programs used. */
export interface Measured extends Head {
  readonly metric: Metric;
  readonly value: number;
  readonly n: number;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly others: number;
  readonly [further: string]: unknown;
}

/** A variant that failed, and why. */
export interface Failed extends Head {
  readonly error: string;
}

export type Row = Measured | Failed;

/** The row of a measurement: `work` units done in each repetition, the value from the median. */
export function measured(head: Head, metric: Metric, work: number, { seconds, others }: Times, further = {}): Measured {
  const middle = median(seconds);
  return {
    ...head,
    metric,
    value: Number((work / middle).toPrecision(6)),
    n: seconds.length,
    median: middle,
    min: Math.min(...seconds),
    max: Math.max(...seconds),
    others,
    ...further,
  };
}

/** The row of a failure. A path says where a machine keeps a file, not what went wrong: only its last part stays. */
export function failed(head: Head, error: unknown): Failed {
  const text = stripVTControlCharacters(error instanceof Error ? error.message : String(error))
    .replace(/\s+/g, ' ')
    .replace(/(?<![\w.])\/\S+\//g, '')
    .trim();
  return { ...head, error: text.slice(0, 800) };
}

const UNITS: Readonly<Record<Metric, readonly [unit: string, scale: number]>> = {
  tokens_per_s: ['tok/s', 1],
  rows_per_s: ['rows/s', 1],
  params_per_s: ['params/s', 1],
  tflop_per_s: ['FLOP/s', 1e12],
  gb_per_s: ['B/s', 1e9],
  mb_per_s: ['B/s', 1e6],
  completions_per_s: ['completions/s', 1],
};

/** The rows as a table for people. */
export function rowsTable(rows: readonly Row[], width?: number): string {
  const columns = [
    { title: 'job' },
    { title: 'shape' },
    { title: 'variant' },
    { title: 'speed', align: 'right' },
    { title: 'time', align: 'right' },
    { title: '±', align: 'right' },
    { title: 'others', align: 'right' },
  ] as const;
  const cells = rows.map((row) => {
    const names = [row.job, row.shape.name, row.rival];
    if (isFailed(row)) return [...names, `failed: ${row.error}`];
    const [unit, scale] = UNITS[row.metric];
    const spread = (row.max - row.min) / row.median;
    return [
      ...names,
      formatUnit(row.value * scale, unit),
      time(row.median),
      formatPercent(spread),
      row.others.toFixed(2),
    ];
  });
  return formatTable(columns, cells, width === undefined ? {} : { width });
}

export function isFailed(row: Row): row is Failed {
  return 'error' in row;
}

/** Milliseconds with three digits, where a duration for people would round them away. */
function time(seconds: number): string {
  return seconds < 1 ? `${(seconds * 1000).toPrecision(3)}ms` : formatDuration(seconds);
}
