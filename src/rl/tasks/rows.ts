import { readFileSync } from 'node:fs';
import { TrainMoeError } from '../../errors.js';

/** A row of a JSON Lines file with its place, for sentences about it. */
export interface Row {
  readonly place: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** The objects of a JSON Lines file. @throws TrainMoeError naming the first line that is none */
export function readRows(file: string, what = "The task's file"): Row[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new TrainMoeError('not-found', `${what} ${file} cannot be read: ${(error as Error).message}.`, {
      cause: error,
    });
  }
  const rows: Row[] = [];
  text
    .replace(/^\ufeff/, '')
    .split('\n')
    .forEach((line, i) => {
      if (line.trim() !== '') rows.push({ place: `${file}:${i + 1}`, fields: parseRow(line, `${file}:${i + 1}`) });
    });
  if (rows.length === 0)
    throw new TrainMoeError('bad-data', `${what} ${file} has no rows; it must have one JSON object a line.`);
  return rows;
}

function parseRow(line: string, place: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (error) {
    throw new TrainMoeError('bad-data', `${place}: the line is not JSON: ${(error as Error).message}.`, {
      cause: error,
    });
  }
  if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return parsed as Record<string, unknown>;
  throw new TrainMoeError('bad-data', `${place}: the line is no JSON object.`);
}

/** A text field; numbers are taken as their digits. @throws TrainMoeError with the fields there are */
export function textField({ fields, place }: Row, name: string): string {
  const found = fields[name];
  if (typeof found === 'string') return found;
  if (typeof found === 'number') return String(found);
  const there = Object.keys(fields).join(', ');
  throw new TrainMoeError(
    'bad-data',
    `${place}: the field "${name}" is ${found === undefined ? 'missing' : 'no text'}; the line has ${there}. Name the fields in the task's options.`,
  );
}
