import { type ChildProcess, fork } from 'node:child_process';
import { type ErrorCode, TrainMoeError } from '../errors.js';
import { closeRendezvous, openRendezvous } from './communicator.js';
import type { RankFailure, SeatNumbers } from './seat.js';

/** How ranks are started and heard. */
export interface CrewOptions {
  /** The program of each rank, which calls takeSeat(). */
  readonly program: string;
  readonly size: number;
  /** Seconds that a rank waits for another one. */
  readonly seconds: number;
  /** What a rank finds in its environment beside ours. */
  readonly environment?: (rank: number) => Readonly<Record<string, string>>;
  readonly onMessage: (rank: number, message: unknown) => void;
  /** Bytes that a rank lays into the shared memory at a time. */
  readonly slotBytes?: number;
}

/** The processes of a run on several ranks. */
export interface Crew {
  /** Starts a rank with its first message. */
  start(rank: number, task: unknown): void;
  /** Sends a message to all ranks that live. */
  tell(message: unknown): void;
  /**
   * Resolves when all ranks that were started have ended well. Rejects when one has not, once all are gone: with its own error, and
   * its number where the others did not fail alike.
   */
  readonly ended: Promise<void>;
}

/** Seconds that the others have to end by themselves when a rank failed. */
const GRACE = 2;

interface Loss {
  readonly rank: number;
  readonly error: TrainMoeError | Error;
  /** 0: its own error; 1: its process ended; 2: it waited for another one. The first is what is told. */
  readonly order: 0 | 1 | 2;
}

/** Makes the memory that the ranks share. Nothing runs before start(). */
export function openCrew({ program, size, seconds, environment, onMessage, slotBytes }: CrewOptions): Crew {
  const descriptor = openRendezvous(size, slotBytes);
  const living = new Map<number, ChildProcess>();
  const losses: Loss[] = [];
  let started = 0;
  let grace: NodeJS.Timeout | undefined;
  let ending = false;
  const endAll = () => {
    ending = true;
    for (const child of living.values()) child.kill('SIGKILL');
  };
  process.on('exit', endAll);
  const { promise, resolve, reject } = settled();
  const lose = (loss: Loss) => {
    losses.push(loss);
    grace ??= setTimeout(endAll, GRACE * 1000);
  };
  const leave = (rank: number) => {
    living.delete(rank);
    if (living.size > 0) return;
    clearTimeout(grace);
    process.off('exit', endAll);
    closeRendezvous(descriptor);
    if (losses.length > 0) reject(firstOf(losses, started));
    else resolve();
  };
  return {
    ended: promise,
    tell: (message) => {
      for (const child of living.values()) if (child.connected) child.send(message as object);
    },
    start: (rank, task) => {
      const seat: SeatNumbers = { rank, seconds };
      const child = fork(program, [JSON.stringify(seat)], {
        stdio: ['ignore', 'ignore', 'inherit', 'ipc', descriptor], // the last is SEAT_DESCRIPTOR
        env: { ...process.env, ...environment?.(rank) },
        serialization: 'advanced',
      });
      started++;
      living.set(rank, child);
      let failed = false;
      child.on('message', (message) => {
        const failure = (message as RankFailure | undefined)?.failed;
        if (!failure) return onMessage(rank, message);
        failed = true;
        lose({ rank, error: revived(failure), order: failure.code === 'lost-rank' ? 2 : 0 });
      });
      child.on('error', (error) => {
        lose({ rank, error, order: 0 });
        if (child.pid === undefined) leave(rank);
      });
      child.on('close', (code, signal) => {
        if (!failed && !ending && code !== 0) lose({ rank, error: endedWith(rank, child.pid, code, signal), order: 1 });
        leave(rank);
      });
      child.send(task as object);
    },
  };
}

function settled() {
  let resolve!: () => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<void>((onDone, onError) => {
    resolve = onDone;
    reject = onError;
  });
  return { promise, resolve, reject };
}

/** What is told of several losses. Those that follow from others come later in time or order. */
function firstOf(losses: readonly Loss[], started: number): Error {
  const order = Math.min(...losses.map((l) => l.order));
  const same = losses.filter((l) => l.order === order);
  const first = order === 1 ? same[0]! : same.reduce((a, b) => (b.rank < a.rank ? b : a));
  if (order > 0 || same.length === started) return first.error;
  const { error } = first;
  const message = `Rank ${first.rank}: ${error.message}`;
  return error instanceof TrainMoeError
    ? new TrainMoeError(error.code, message, { cause: error })
    : new Error(message, { cause: error });
}

function endedWith(rank: number, pid: number | undefined, code: number | null, signal: string | null): TrainMoeError {
  const how = signal ? `was ended by ${signal}` : `ended with status ${code}`;
  const guess = signal === 'SIGKILL' ? ' (the system does that to a process when memory is short)' : '';
  return new TrainMoeError(
    'lost-rank',
    `Rank ${rank} (process ${pid}) ${how}${guess}, and the others with it; run the same command to go on from the last checkpoint.`,
  );
}

function revived({ code, message, stack }: RankFailure['failed']): Error {
  const error = code ? new TrainMoeError(code as ErrorCode, message) : new Error(message);
  if (stack) error.stack = stack;
  return error;
}
