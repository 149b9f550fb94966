import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
import { TrainMoeError } from '../../errors.js';
import { folderSink, writeAll, writeText } from '../../hub/byte_sink.js';
import { ioError } from '../../hub/io_error.js';
import { type DiskOps, NODE_DISK_OPS } from './disk.js';

/** Who holds a lock. The last three fields tell a process that is gone from one that got its number later. */
export interface LockHolder {
  readonly pid: number;
  readonly host: string;
  /** When the lock was taken, as an ISO date. */
  readonly since: string;
  /** When the process started, in clock ticks since boot: `/proc/<pid>/stat`, field 22. */
  readonly processStart: string;
  readonly bootId: string;
  /** Process numbers mean nothing in another container's namespace. */
  readonly pidNamespace: string;
}

export interface RunLock {
  readonly holder: LockHolder;
  /** Lets others take the lock. May be called twice. */
  release(): void;
}

/** What the lock needs to know of the machine; tests put other machines and processes in its place. */
export interface LockSystem {
  readonly self: () => LockHolder;
  /** Start time of a live process, or undefined when there is none (a zombie counts as none). */
  readonly processStart: (pid: number) => string | undefined;
  readonly ops: DiskOps;
}

const FOLDER = '.lock';

/**
 * Takes the run folder for this process. Throws `busy`, naming the holder, while another trainer has it.
 *
 * How two processes cannot both take over a lock whose holder died: the lock is not one file but a row of numbered
 * ones, and the highest number counts. To take the lock is to create the next number with a hard link, which fails if
 * it exists; so of all who saw the same dead holder one succeeds. To release it is to mark the file, not to remove it.
 * The highest number is therefore never removed and never given twice. Lower ones are cleared away; whoever, having
 * looked at an old list, creates such a number again finds the higher one on looking once more, and steps back.
 */
export function lockRun(runDir: string, system: LockSystem = THIS_SYSTEM): RunLock {
  const { ops } = system;
  const folder = join(runDir, FOLDER);
  const holder = system.self();
  try {
    ops.mkdirSync(folder, { recursive: true });
    const taken = takeWithDraft(runDir, holder, system);
    clearBelow(folder, taken, ops);
    return { holder, release: () => release(folder, taken, holder, ops) };
  } catch (cause) {
    throw ioError('lock the run folder', runDir, cause);
  }
}

/** The lock file is complete before it gets its number, so that no one ever reads half of it. */
function takeWithDraft(runDir: string, holder: LockHolder, system: LockSystem): number {
  const folder = join(runDir, FOLDER);
  const draft = `draft-${randomUUID()}`;
  try {
    writeText(folderSink(folder, system.ops), draft, JSON.stringify(holder));
    return takeNext(runDir, join(folder, draft), system);
  } finally {
    system.ops.rmSync(join(folder, draft), { force: true });
  }
}

/** Links `draft` as the next number; returns that number. */
function takeNext(runDir: string, draft: string, system: LockSystem): number {
  const folder = join(runDir, FOLDER);
  for (;;) {
    const top = highest(folder);
    if (top > 0 && !mayTake(join(folder, fileName(top)), runDir, system)) continue;
    const mine = join(folder, fileName(top + 1));
    try {
      system.ops.linkSync(draft, mine);
    } catch (error) {
      // Someone else was first: look again at who it is.
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue;
      throw error;
    }
    if (highest(folder) === top + 1) return top + 1;
    system.ops.rmSync(mine, { force: true });
  }
}

const fileName = (number: number) => `${String(number).padStart(8, '0')}.json`;

function highest(folder: string): number {
  const numbers = readdirSync(folder).flatMap((name) => (/^\d+\.json$/.test(name) ? [Number.parseInt(name, 10)] : []));
  return Math.max(0, ...numbers);
}

/** True when the lock file's holder released it or is gone; false when the file itself is gone; throws `busy`. */
function mayTake(path: string, runDir: string, system: LockSystem): boolean {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  const holder = parseHolder(text);
  if (holder === 'released') return true;
  const remedy = `If you are sure that no trainer uses this folder, delete ${path}.`;
  if (holder === undefined) {
    throw new TrainMoeError('busy', `The run folder ${runDir} has a lock that cannot be read. ${remedy}`);
  }
  const state = stateOf(holder, system);
  if (state === 'gone') return true;
  const who = `process ${holder.pid} on ${holder.host} has trained in it since ${holder.since}`;
  if (state === 'alive' && holder.pid === process.pid)
    throw new TrainMoeError(
      'busy',
      `The run folder ${runDir} is in use: this process has trained in it since ${holder.since}. Await that run, or choose another folder.`,
    );
  const advice =
    state === 'alive'
      ? `Wait for it, stop it with "kill ${holder.pid}", or choose another folder.`
      : `Whether it still runs cannot be seen from here. ${remedy}`;
  throw new TrainMoeError('busy', `The run folder ${runDir} is in use: ${who}. ${advice}`);
}

function parseHolder(text: string): LockHolder | 'released' | undefined {
  try {
    const value = JSON.parse(text) as LockHolder & { released?: boolean };
    if (value.released === true) return 'released';
    return Number.isSafeInteger(value.pid) && typeof value.host === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

function stateOf(holder: LockHolder, system: LockSystem): 'alive' | 'gone' | 'unknown' {
  const self = system.self();
  if (holder.host !== self.host) return 'unknown';
  if (holder.bootId !== self.bootId) return 'gone';
  if (holder.pidNamespace !== self.pidNamespace) return 'unknown';
  return system.processStart(holder.pid) === holder.processStart ? 'alive' : 'gone';
}

/** Earlier numbers are of no more use. One that cannot be removed does no harm. */
function clearBelow(folder: string, taken: number, ops: DiskOps): void {
  for (let number = taken - 1; number > 0; number--) {
    try {
      ops.rmSync(join(folder, fileName(number)));
    } catch {
      return;
    }
  }
}

function release(folder: string, taken: number, holder: LockHolder, ops: DiskOps): void {
  const path = join(folder, fileName(taken));
  try {
    const text = readFileSync(path, 'utf8');
    // After a deletion by hand the number may be someone else's by now.
    if (text !== JSON.stringify(holder)) return;
    markReleased(folder, path, holder, ops);
  } catch (cause) {
    // The folder was removed while the run held it: there is nothing left to unlock.
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw ioError('unlock', path, cause);
  }
}

/** The mark comes by a rename, or, where a full disk has no room for another file, over the first bytes of the text itself. */
function markReleased(folder: string, path: string, holder: LockHolder, ops: DiskOps): void {
  const draft = join(folder, `released-${randomUUID()}`);
  try {
    writeText(folderSink(folder, ops), basename(draft), JSON.stringify({ ...holder, released: true }));
    ops.renameSync(draft, path);
  } catch (cause) {
    ops.rmSync(draft, { force: true });
    if ((cause as { cause?: NodeJS.ErrnoException }).cause?.code !== 'ENOSPC') throw cause;
    const text = Buffer.from(JSON.stringify({ released: true }).padEnd(JSON.stringify(holder).length));
    const descriptor = ops.openSync(path, 'r+');
    try {
      writeAll(descriptor, text, ops);
    } finally {
      ops.closeSync(descriptor);
    }
  }
}

/** Field 22 of `/proc/<pid>/stat`; field 2 is the program's name, which may hold spaces and brackets. */
function processStartOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' || state === 'X' ? undefined : fields[18];
  } catch {
    return undefined;
  }
}

/** A sandbox may hide parts of /proc; what is hidden from the holder is hidden from its rivals, and compares equal. */
function known(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}

const THIS_SYSTEM: LockSystem = {
  self: () => ({
    pid: process.pid,
    host: hostname(),
    since: new Date().toISOString(),
    processStart: processStartOf(process.pid) ?? '',
    bootId: known(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
    pidNamespace: known(() => readlinkSync('/proc/self/ns/pid')),
  }),
  processStart: processStartOf,
  ops: NODE_DISK_OPS,
};
