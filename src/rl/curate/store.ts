import { closeSync, existsSync, fsyncSync, ftruncateSync, mkdirSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Settings } from '../../config/layers.js';
import { TrainMoeError } from '../../errors.js';
import { writeAll } from '../../hub/byte_sink.js';
import { ioError } from '../../hub/io_error.js';
import { type Beginning, type RunKind, refuseOthers } from '../../train/run/policy.js';
import { REASONS, type Reason } from './filters.js';

/** What has become of the completions so far. */
export interface Counts {
  readonly questions: number;
  /** Questions passed over because their prompts are too long. */
  readonly passedOver: number;
  readonly sampled: number;
  readonly tokens: number;
  /** Completions that the rewards find right; all of them where there is no reward. */
  readonly correct: number;
  readonly kept: number;
  readonly dropped: Readonly<Partial<Record<Reason, number>>>;
}

export const NO_COUNTS: Counts = {
  questions: 0,
  passedOver: 0,
  sampled: 0,
  tokens: 0,
  correct: 0,
  kept: 0,
  dropped: {},
};

export function addCounts(a: Counts, b: Counts): Counts {
  const dropped = REASONS.map((reason) => [reason, (a.dropped[reason] ?? 0) + (b.dropped[reason] ?? 0)] as const);
  return {
    questions: a.questions + b.questions,
    passedOver: a.passedOver + b.passedOver,
    sampled: a.sampled + b.sampled,
    tokens: a.tokens + b.tokens,
    correct: a.correct + b.correct,
    kept: a.kept + b.kept,
    dropped: Object.fromEntries(dropped.filter(([, n]) => n > 0)),
  };
}

/** One line of the state: all questions before `next` are done, and their conversations are the first `bytes` of the data. */
interface Place {
  readonly next: number;
  readonly bytes: number;
  readonly counts: Counts;
}

export const dataPath = (out: string) => join(out, 'data.jsonl');
const statePath = (out: string) => join(out, 'state.jsonl');

/** The growing data of a run. */
export interface Store {
  readonly next: number;
  readonly counts: Counts;
  /** The conversations kept so far, one JSON text each. */
  lines(): string[];
  /** Appends a batch: first its conversations, then the line that says they are whole. */
  append(lines: readonly string[], next: number, counts: Counts): void;
  close(): void;
}

/**
 * Opens a folder's data.jsonl and state.jsonl, which only ever grow. What a killed process left behind the last line of the
 * state is cut off, so that the batch is done again to the same bytes.
 * @throws TrainMoeError as refuseOthers() where the data was made otherwise, `bad-data` where it is not as the state says
 */
export function openStore(out: string, kind: RunKind, beginning: Beginning, defaults: Settings): Store {
  const [data, state] = [dataPath(out), statePath(out)];
  try {
    mkdirSync(out, { recursive: true });
    const found = existsSync(state) ? wholeLines(state) : { lines: [], bytes: 0 };
    const places = found.lines.slice(1).map((line) => JSON.parse(line) as Place);
    if (found.lines.length > 0) refuseOthers(out, kind, JSON.parse(found.lines[0]!) as Beginning, beginning, defaults);
    const place = places.at(-1) ?? { next: 0, bytes: 0, counts: NO_COUNTS };
    const size = existsSync(data) ? statSync(data).size : 0;
    if (size < place.bytes)
      throw new TrainMoeError(
        'bad-data',
        `${data} has ${size} bytes, but ${state} knows of ${place.bytes}; give --out another folder, or remove both to begin anew.`,
      );
    const [dataFile, stateFile] = [openSync(data, 'a+'), openSync(state, 'a+')];
    ftruncateSync(dataFile, place.bytes);
    ftruncateSync(stateFile, found.bytes);
    if (found.lines.length === 0) writeLine(stateFile, JSON.stringify(beginning));
    return storeAt(out, place, dataFile, stateFile);
  } catch (cause) {
    throw ioError('open', out, cause);
  }
}

function storeAt(out: string, start: Place, dataFile: number, stateFile: number): Store {
  let place = start;
  return {
    get next() {
      return place.next;
    },
    get counts() {
      return place.counts;
    },
    lines: () => wholeLines(dataPath(out)).lines,
    append(lines, next, counts) {
      try {
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
        writeAll(dataFile, bytes);
        fsyncSync(dataFile);
        place = { next, bytes: place.bytes + bytes.length, counts };
        writeLine(stateFile, JSON.stringify(place));
      } catch (cause) {
        throw ioError('write', out, cause);
      }
    },
    close() {
      closeSync(dataFile);
      closeSync(stateFile);
    },
  };
}

function writeLine(file: number, line: string): void {
  writeAll(file, Buffer.from(`${line}\n`));
  fsyncSync(file);
}

/** Lines that end, and the bytes they take; one that a crash cut short is left out. */
function wholeLines(path: string): { readonly lines: string[]; readonly bytes: number } {
  const content = readFileSync(path);
  const bytes = content.lastIndexOf(0x0a) + 1;
  const text = content.subarray(0, bytes).toString('utf8');
  return { lines: text === '' ? [] : text.slice(0, -1).split('\n'), bytes };
}
