import { setImmediate as turn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { TrainMoeError } from '../../errors.js';
import { type PatternSpec, resolvePattern } from '../patterns.js';
import { type Chunk, type Counts, PieceCounter } from './count.js';

/** What a counting thread is told at its start. */
export interface CounterOptions {
  readonly pattern: PatternSpec;
  readonly maxPiece: number;
  readonly memoryLimit: number;
}

/** Chunks that one thread may hold: the one it counts and the next. */
const HELD = 2;

/** A worker thread that counts, and what it owes. */
interface Helper {
  readonly worker: Worker;
  /** How many chunks more it may be sent; 0 until it has started. */
  room: number;
  /** Called when it has finished a chunk, given its counts, or failed. */
  wake: () => void;
  counts: Counts | undefined;
  error: unknown;
}

/**
 * Counts chunks on several threads, this one included: a chunk goes to a thread that has room for it, else it is counted
 * here. Threads start only when there is more than one chunk. They run compiled JavaScript: where this module is run from
 * TypeScript source, all is counted here.
 */
export class CounterPool implements AsyncDisposable {
  readonly #own: PieceCounter;
  readonly #helpers: Helper[] = [];
  readonly #threads: number;
  #chunks = 0;

  constructor(
    readonly options: CounterOptions,
    threads: number,
  ) {
    this.#threads = import.meta.url.endsWith('.js') ? threads : 1;
    this.#own = new PieceCounter(resolvePattern(options.pattern).split, options.maxPiece, options.memoryLimit);
  }

  /** How many threads count at present. */
  get threads(): number {
    return 1 + this.#helpers.length;
  }

  /** Counts a chunk, here or on another thread. The chunk is given away. */
  async count(chunk: Chunk): Promise<void> {
    if (this.#chunks++ === 1) {
      while (this.threads < this.#threads) this.#helpers.push(startHelper(this.options));
    }
    if (this.#helpers.length > 0) await turn(); // hear from threads that have finished something
    const helper = this.#helpers.find(({ room }) => room > 0);
    if (!helper) return this.#own.count(chunk);
    helper.room--;
    helper.worker.postMessage(chunk, [chunk.bytes.buffer, chunk.ends.buffer]);
  }

  /** What all threads counted together. */
  async finish(): Promise<Counts> {
    for (const helper of this.#helpers) helper.worker.postMessage('finish');
    for (const helper of this.#helpers) {
      await until(helper, () => helper.counts !== undefined);
      this.#own.addAll(helper.counts!);
    }
    return this.#own.take();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#helpers.map(({ worker }) => worker.terminate()));
  }
}

function startHelper(options: CounterOptions): Helper {
  const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: options });
  const helper: Helper = { worker, room: 0, wake: () => {}, counts: undefined, error: undefined };
  worker.on('message', (message: 'ready' | 'done' | Counts) => {
    if (message === 'ready') helper.room = HELD;
    else if (message === 'done') helper.room++;
    else helper.counts = message;
    helper.wake();
  });
  const fail = (error: unknown): void => {
    helper.error ??= error;
    helper.wake();
  };
  worker.on('error', fail);
  worker.on('exit', (code) => fail(new Error(`it ended early with code ${code}`)));
  return helper;
}

async function until(helper: Helper, ready: () => boolean): Promise<void> {
  while (!ready()) {
    if (helper.error !== undefined) {
      const reason = helper.error instanceof Error ? helper.error.message : String(helper.error);
      throw new TrainMoeError('internal', `A thread that counts pieces for the tokenizer failed: ${reason}.`, {
        cause: helper.error,
      });
    }
    await new Promise<void>((resolve) => {
      helper.wake = resolve;
    });
  }
}
