import { TrainMoeError } from '../errors.js';
import { Communicator } from './communicator.js';

/** What a rank is started with. */
export interface SeatNumbers {
  readonly rank: number;
  /** That it waits for others. */
  readonly seconds: number;
}

/** What a rank sends when it fails. An error crosses as its parts, because its class does not survive the copy. */
export interface RankFailure {
  readonly failed: {
    readonly code: string | undefined;
    readonly message: string;
    readonly stack: string | undefined;
  };
}

/** The place of a process among the ranks of a crew. */
export interface Seat {
  readonly communicator: Communicator;
  /** Sends a message to whoever started the crew. */
  send(message: unknown): void;
  /** Says what hears every message of it but the first; those that came before are heard at once. */
  onMessage(heed: (message: unknown) => void): void;
}

/** The descriptor under which a rank inherits the shared memory: the fifth in the `stdio` of openCrew(). */
const SEAT_DESCRIPTOR = 4;

/**
 * What the program of a rank is: `body` with the first message it is sent. It ends when that has ended, and tells why it failed
 * to who started it and to the other ranks. Ctrl-C and SIGTERM alone do not end it, for a terminal sends them to all processes at
 * once; the end of who started it does.
 */
export async function takeSeat<T>(body: (task: T, seat: Seat) => Promise<void>): Promise<void> {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});
  const alone = () => process.exit(1);
  process.on('disconnect', alone);
  const { rank, seconds } = JSON.parse(process.argv[2]!) as SeatNumbers;
  const communicator = new Communicator(SEAT_DESCRIPTOR, rank, seconds);
  let sent: Promise<unknown> = Promise.resolve(); // what is not yet sent would be lost with the channel
  const send = (message: unknown) => {
    sent = new Promise((done) => process.send!(message, done));
  };
  const unheard: unknown[] = [];
  const keep = (message: unknown): void => {
    unheard.push(message);
  };
  let hear = keep;
  process.on('message', (message) => hear(message));
  const task = await new Promise<T>((resolve) => {
    hear = (message) => {
      hear = keep;
      resolve(message as T);
    };
  });
  const onMessage: Seat['onMessage'] = (heed) => {
    hear = heed;
    for (const message of unheard.splice(0)) heed(message);
  };
  try {
    await body(task, { communicator, send, onMessage });
  } catch (error) {
    const { message, stack } = error as Error;
    communicator.fail(message);
    process.exitCode = 1;
    const failed = { code: error instanceof TrainMoeError ? error.code : undefined, message, stack };
    send({ failed });
  }
  await sent;
  process.off('disconnect', alone);
  process.disconnect();
}
