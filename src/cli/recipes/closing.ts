import { join } from 'node:path';
import { readCurve } from '../../recipes/curves.js';
import { type R1End, type R1Row, REPORT } from '../../recipes/rows.js';
import { formatDuration, formatNumber, formatPercent } from '../../terminal/format.js';
import type { Style } from '../../terminal/style.js';
import { formatTable } from '../../terminal/table.js';
import { curveLines } from '../train/ending.js';

/** What a finished recipe ends with: curves, what the models say, their table, and what to try next. */
export function closing(end: R1End, width: number, { bold, dim }: Style): string[] {
  const { rows, stopped, seconds, out } = end;
  const curve = (what: string, metric: string) => (row: R1Row) =>
    curveLines({ title: `${what} of ${row.title}`, points: readCurve(row.stage.folder, metric) }, width);
  if (stopped) return ['', bold('Stopped; run the same command to go on.')];
  return [
    '',
    bold(`Done in ${formatDuration(seconds)}.`),
    ...rows.slice(0, 1).flatMap(curve('Loss', 'train/loss')),
    ...rows.flatMap(curve('Reward', 'reward/mean')),
    '',
    ...answers(rows),
    tableOf(rows, width),
    '',
    `report ${join(out, REPORT)}`,
    ...next(rows, dim),
  ];
}

/** How each model answers the first of the held-out questions that are kept to be read. */
function answers(rows: readonly R1Row[]): string[] {
  const shown = rows.flatMap(({ title, measured: { result } }) =>
    result.shown.slice(0, 1).map(({ prompt, completion, right }) => ({ title, prompt, completion, right })),
  );
  if (shown.length === 0) return [];
  const columns = [{ title: 'model' }, { title: 'right' }, { title: 'answer' }];
  const cells = shown.map(({ title, right, completion }) => [title, right ? 'yes' : 'no', oneLine(completion, 120)]);
  return [`One answer of each to: ${oneLine(shown[0]!.prompt, 240)}`, '', formatTable(columns, cells), ''];
}

/** A text as one line; of a long one the beginning, and the end, where answers stand. */
function oneLine(text: string, most: number): string {
  const line = text.trim().replaceAll(/\s*\n\s*/g, ' / ');
  return line.length <= most ? line : `${line.slice(0, most / 2)} … ${line.slice(-most / 2)}`;
}

/** All models with their evaluation. */
export function tableOf(rows: readonly R1Row[], width?: number): string {
  const right = (title: string) => ({ title, align: 'right' as const });
  const columns = [
    { title: 'model' },
    right('accuracy'),
    right('pass@1'),
    right('format'),
    right('language'),
    right('length'),
    right('time'),
  ];
  const cells = rows.map(({ title, stage, measured: { result } }) => [
    title,
    formatPercent(result.greedy.accuracy),
    formatPercent(result.sampled.accuracy),
    formatPercent(result.sampled.judged.format ?? Number.NaN),
    formatPercent(result.sampled.judged.language ?? Number.NaN),
    formatNumber(result.sampled.length, 3),
    formatDuration(stage.seconds),
  ]);
  return formatTable(columns, cells, width === undefined ? {} : { width });
}

function next(rows: readonly R1Row[], dim: (text: string) => string): string[] {
  const last = rows.at(-1);
  if (!last) return [];
  const question = last.measured.result.shown[0]?.prompt ?? '';
  return [
    '',
    'What to try next',
    `  npx train-moe generate --model ${last.stage.model} ${JSON.stringify(question)}   ${dim('ask the last model yourself')}`,
    `  npx train-moe r1 --seed 2 --out runs/second   ${dim('the same from other random weights')}`,
    `  npx train-moe pretrain --preset nano --data my-texts/ --out runs/mine   ${dim('your own text, a larger model')}`,
    `  npx train-moe export --model ${last.stage.model} --out my-model   ${dim('a Hugging Face folder')}`,
  ];
}
