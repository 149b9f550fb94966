import { TrainMoeError } from '../errors.js';
import { epochStream, type FimOptions } from './fim.js';
import { permutation } from './order.js';
import { fillRow, windowCount } from './pack.js';
import type { TokenStream } from './shards/read.js';
import type { EpochStream } from './stream.js';
import { type Batch, type DataState, IGNORE, type Packing } from './types.js';

/** What batches look like, and which of them. */
export interface BatchOptions {
  readonly shards: TokenStream;
  /** Windows per batch, unless `next(rows)` says otherwise. */
  readonly rows: number;
  /** Positions per window. */
  readonly length: number;
  /** Decides order and FIM. Default 0, or that of `state`. */
  readonly seed?: number;
  /** Default `stream`, as in DeepSeek-V3's pre-training. */
  readonly packing?: Packing;
  readonly fim?: FimOptions | undefined;
  /** `sequential` keeps the order on disk, for evaluation. Default `shuffled`. */
  readonly order?: 'shuffled' | 'sequential';
  /** Stop after this many epochs, the last batch perhaps with fewer rows. Default: never. */
  readonly epochs?: number;
  /** Where to go on: the `state` of an earlier iterator over the same shards with the same options. */
  readonly state?: DataState;
}

/** Batches in an order that is a pure function of (seed, epoch, index). */
export interface BatchIterator extends IterableIterator<Batch, undefined, number | undefined> {
  /** The position of the next window: all that a checkpoint needs to keep. */
  readonly state: DataState;
  /** The next batch, with `rows` windows if given (a batch-size ramp). It may reach into the next epoch. */
  next(rows?: number): IteratorResult<Batch, undefined>;
}

interface Epoch {
  readonly number: number;
  readonly stream: EpochStream;
  readonly windows: number;
  readonly place: (index: number) => number;
}

/**
 * Endless (or `epochs` long) iterator of batches. Row r of a batch is window `place(index + r)` of the epoch, so what
 * a step sees does not depend on how many rows earlier steps took.
 * Throws `bad-argument` for sizes out of range, `bad-data` when the shards are too short for a single target or `state`
 * lies outside them.
 */
export function batches(options: BatchOptions): BatchIterator {
  const { shards, rows: defaultRows, length, packing = 'stream', order = 'shuffled', epochs = Infinity } = options;
  const { tokenBytes } = shards;
  positive(defaultRows, 'rows');
  positive(length, 'length');
  const seed = seedOf(options);
  const openEpoch = (number: number): Epoch => {
    const stream = epochStream(shards, options.fim, seed, number);
    const windows = windowCount(stream.tokens, length);
    if (windows === 0) throw tooShort(stream.tokens);
    return { number, stream, windows, place: order === 'shuffled' ? permutation(windows, seed, number) : identity };
  };
  let epoch = openEpoch(options.state?.epoch ?? 0);
  let index = options.state?.index ?? 0;
  checkIndex(index, epoch.windows);
  const scratch = new Int32Array(length + 1);
  const padId = shards.eosId ?? 0;

  const fill = (rows: number): Batch => {
    const size = rows * length;
    const ids = new Int32Array(size);
    const targets = new Int32Array(size);
    const documentStart = new Int32Array(size);
    let trainedTokens = 0;
    for (let row = 0; row < rows; row++) {
      if (index === epoch.windows) {
        epoch = openEpoch(epoch.number + 1);
        index = 0;
      }
      const target = { ids, targets, documentStart, row, length, padId, packing };
      trainedTokens += fillRow(epoch.stream, epoch.place(index++), scratch, target);
    }
    return { rows, length, ids, targets, documentStart, trainedTokens, bytes: bytesOf(targets, tokenBytes) };
  };

  return {
    get state() {
      // The end of an epoch is the start of the next: one position, one name.
      return index === epoch.windows
        ? { seed, epoch: epoch.number + 1, index: 0 }
        : { seed, epoch: epoch.number, index };
    },
    next(rows = defaultRows) {
      positive(rows, 'rows');
      const left = windowsLeft(epoch, index, epochs, rows, openEpoch);
      return left === 0 ? { done: true, value: undefined } : { done: false, value: fill(Math.min(rows, left)) };
    },
    [Symbol.iterator]() {
      return this;
    },
  };
}

/** Windows until the last epoch ends; counts no further than `enough`. */
function windowsLeft(epoch: Epoch, index: number, epochs: number, enough: number, open: (n: number) => Epoch): number {
  if (epochs === Infinity) return enough;
  let left = epoch.number < epochs ? epoch.windows - index : 0;
  for (let number = epoch.number + 1; number < epochs && left < enough; number++) left += open(number).windows;
  return left;
}

function identity(index: number): number {
  return index;
}

function bytesOf(targets: Int32Array, tokenBytes: Uint32Array | undefined): number {
  if (tokenBytes === undefined) return 0;
  let sum = 0;
  for (const id of targets) if (id !== IGNORE) sum += tokenBytes[id]!;
  return sum;
}

function positive(value: number, name: string): void {
  if (Number.isInteger(value) && value > 0) return;
  throw new TrainMoeError('bad-argument', `batches: ${name} is ${value}, expected a whole number of at least 1.`);
}

export function seedOf({ seed, state }: BatchOptions): number {
  const chosen = seed ?? state?.seed ?? 0;
  if (!Number.isSafeInteger(chosen)) {
    throw new TrainMoeError('bad-argument', `batches: the seed is ${chosen}, expected a whole number.`);
  }
  if (state !== undefined && state.seed !== chosen) {
    throw new TrainMoeError(
      'bad-argument',
      `batches: the seed is ${chosen}, but the state to go on from has seed ${state.seed}; leave the seed out.`,
    );
  }
  return chosen;
}

export function checkIndex(index: number, windows: number): void {
  if (Number.isInteger(index) && index >= 0 && index < windows) return;
  throw new TrainMoeError(
    'bad-data',
    `batches: the state stands at window ${index}, but the epoch has ${windows}; these are not the shards, length or ` +
      'FIM setting it was made with.',
  );
}

export function tooShort(tokens: number): TrainMoeError {
  return new TrainMoeError('bad-data', `The shards hold ${tokens} tokens; at least 2 are needed to predict one.`);
}
