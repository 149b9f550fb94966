import { type Draw, runLength, shuffleFirst } from './draws.js';
import { type Batch, IGNORE } from './types.js';

/*
 * Which words of a row are predicted, and in which order: XLNet, arXiv:1906.08237, sections 2.2 and 2.6, and the code that came
 * with it.
 */

/** How targets are chosen. */
export interface SpanOptions {
  /** Share of the positions that are predicted, 1/K. */
  readonly share: number;
  /** A word begins with this token. */
  startsWord(id: number): boolean;
}

/** Tokens of a row or of more, of which some are targets, and when each is seen. */
export type TurnRow = Readonly<Record<'ids' | 'targets' | 'turns', Int32Array>>;

/** A half of a row. */
export interface Half {
  /** Of its text, in the order in which people read it. */
  readonly places: readonly number[];
  /** Of marks between texts, which are never predicted. */
  readonly marks: readonly number[];
  /** Targets, if there are as many places. */
  readonly goal: number;
  /** That of its context. */
  readonly turn: number;
}

/** Tokens that are predicted together, at most. */
const LONGEST = 5;

/** Whole numbers from..to-1. */
export const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

/**
 * Chooses targets in one half of a row and gives every place its turn: tokens that are context have the first, at once; targets, and
 * the marks between texts, follow one by one in random order.
 * @returns how many targets there are
 */
export function takeTurns(row: TurnRow, { places, marks, goal, turn }: Half, o: SpanOptions, draw: Draw): number {
  const targets = spans(places, row.ids, goal, o, draw);
  for (const i of places) row.turns[i] = turn;
  for (const i of targets) row.targets[i] = row.ids[i]!;
  const ordered = [...targets, ...marks];
  shuffleFirst(ordered, ordered.length, draw);
  for (const [order, i] of ordered.entries()) row.turns[i] = turn + 1 + order;
  return targets.length;
}

/**
 * `goal` of the places, in spans of n = 1 .. 5 tokens, p(n) proportional to 1/n, that begin with a word and have K*n tokens of
 * context around them; what is missing then comes from anywhere.
 */
function spans(places: readonly number[], ids: Int32Array, goal: number, o: SpanOptions, draw: Draw): number[] {
  const chosen = new Set<number>();
  for (let at = 0; chosen.size < goal; ) {
    const n = Math.min(runLength(LONGEST, draw), goal - chosen.size);
    const context = Math.round(n / o.share);
    const before = draw(context);
    let begin = at + before;
    while (begin < places.length && !o.startsWord(ids[places[begin]!]!)) begin++;
    if (begin + n > places.length) break;
    for (let i = begin; i < begin + n; i++) chosen.add(places[i]!);
    at = begin + n + context - before;
  }
  const others = places.filter((i) => !chosen.has(i));
  const missing = Math.min(goal - chosen.size, others.length);
  shuffleFirst(others, missing, draw);
  return [...chosen, ...others.slice(0, missing)];
}

/**
 * What tokens may not see of their row, [rows,T,T], 1 where token i does not see token j: those see whose turn comes later, and tokens
 * that are not predicted also see those of their own turn.
 */
export function permutationMask({
  rows,
  length,
  targets,
  turns,
}: TurnRow & Pick<Batch, 'rows' | 'length'>): Uint8Array {
  const mask = new Uint8Array(rows * length * length);
  for (let r = 0; r < rows * length; r++) {
    const first = r - (r % length);
    const end = turns[r]! + (targets[r] === IGNORE ? 1 : 0);
    for (let j = 0; j < length; j++) if (turns[first + j]! >= end) mask[r * length + j] = 1;
  }
  return mask;
}

/** Targets of a batch, K to a row. */
export interface TargetPlaces {
  /** [rows,K] in their rows. */
  readonly places: Int32Array;
  /** [rows,K] */
  readonly ids: Int32Array;
}

/** Places [rows,K] of the targets in their rows and the targets themselves; -1 and IGNORE where a row has fewer. */
export function targetPlaces({ rows, length, targets, targetsPerRow = length }: Omit<Batch, 'ids'>): TargetPlaces {
  const places = new Int32Array(rows * targetsPerRow).fill(-1);
  const ids = new Int32Array(rows * targetsPerRow).fill(IGNORE);
  for (let row = 0; row < rows; row++) {
    let k = row * targetsPerRow;
    for (let i = 0; i < length; i++) {
      const target = targets[row * length + i]!;
      if (target === IGNORE) continue;
      places[k] = i;
      ids[k++] = target;
    }
  }
  return { places, ids };
}
