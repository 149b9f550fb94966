import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { TrainMoeError } from '../../errors.js';
import { type FolderSink, folderSink, writeText } from '../../hub/byte_sink.js';
import { ioError } from '../../hub/io_error.js';
import { type DiskOps, NODE_DISK_OPS, syncFolder } from './disk.js';
import {
  checksummedFolder,
  findDamage,
  findMissing,
  formatManifest,
  MANIFEST_NAME,
  type PartRecord,
  readManifest,
} from './manifest.js';

/** Where a run keeps its checkpoints. */
export const checkpointsFolder = (runDir: string) => join(runDir, 'checkpoints');

/** A symbolic link beside the checkpoints to the one saved last, for people and other programs. */
export const LATEST_NAME = 'latest';

export interface Checkpoint {
  /** A Hugging Face folder with the trainer's state in `trainer/` and a `manifest.json`. */
  readonly path: string;
  /** Optimizer steps done. */
  readonly step: number;
}

export interface SaveOptions {
  /** Complete checkpoints to keep, the new one included; older ones are deleted. */
  readonly keep?: number;
  readonly ops?: DiskOps;
}

export interface Saved extends Checkpoint {
  /** Sentences about things that failed after the checkpoint was safe: the link, or the deletion of old ones. */
  readonly warnings: readonly string[];
}

/**
 * Saves a checkpoint so that a crash, a power cut or a full disk at any moment leaves either the new one complete or
 * the earlier ones untouched. `write` puts the files into a hidden folder; they, a manifest with their checksums, and
 * the folders are forced to the disk; one rename makes the checkpoint appear; then `latest` is moved and the oldest
 * are deleted. The caller holds the run's lock (see `lockRun`).
 *
 * Throws a sentence with the path and the reason when the checkpoint could not be written, and whatever `write` throws.
 */
export function saveCheckpoint(
  runDir: string,
  step: number,
  write: (folder: FolderSink) => void,
  { keep = 3, ops = NODE_DISK_OPS }: SaveOptions = {},
): Saved {
  checkCount('step', step, 0);
  checkCount('keep', keep, 1);
  const root = checkpointsFolder(runDir);
  const temporary = join(root, `.saving-${stepName(step)}`);
  let path: string;
  try {
    ops.mkdirSync(root, { recursive: true });
    // A leftover that cannot be removed only matters if it is in the way, and then the next line says so.
    attempt(() => removeLeftovers(root, ops));
    writeContent(temporary, step, write, ops);
    path = join(root, unusedName(root, step));
    ops.renameSync(temporary, path);
    syncFolder(root, ops);
  } catch (cause) {
    attempt(() => ops.rmSync(temporary, { recursive: true, force: true }));
    throw ioError(`save the checkpoint of step ${step} in`, root, cause);
  }
  const warnings = [
    attempt(() => pointLatest(root, path.slice(root.length + 1), ops)),
    attempt(() => deleteOld(root, keep, ops)),
  ];
  return { path, step, warnings: warnings.filter((warning) => warning !== undefined) };
}

function checkCount(what: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new TrainMoeError('bad-argument', `${what} is ${value}, but must be an integer of at least ${least}.`);
}

function writeContent(temporary: string, step: number, write: (folder: FolderSink) => void, ops: DiskOps): void {
  ops.mkdirSync(temporary);
  const files = new Map<string, readonly PartRecord[]>();
  const plain = folderSink(temporary, ops);
  write(checksummedFolder(plain, files));
  writeText(plain, MANIFEST_NAME, formatManifest(step, files));
  const folders = new Set([...files.keys()].flatMap(parentFolders));
  for (const folder of [...folders, '.']) syncFolder(join(temporary, folder), ops);
}

/** The folders that lead to a file, without the top: `a/b/c` gives `a/b` and `a`. */
function parentFolders(name: string): string[] {
  const parent = dirname(name);
  return parent === '.' ? [] : [parent, ...parentFolders(parent)];
}

/**
 * A step saved again, after going back, gets a name of its own, above all that are there: replacing a folder cannot be
 * done in one operation.
 */
function unusedName(root: string, step: number): string {
  const taken = list(root).filter((checkpoint) => checkpoint.step === step);
  const revision = 1 + Math.max(-1, ...taken.map((checkpoint) => checkpoint.revision));
  return revision === 0 ? stepName(step) : `${stepName(step)}-r${revision}`;
}

const stepName = (step: number) => `step-${String(step).padStart(8, '0')}`;

function pointLatest(root: string, name: string, ops: DiskOps): void {
  const temporary = join(root, `.saving-${LATEST_NAME}`);
  ops.rmSync(temporary, { force: true });
  ops.symlinkSync(name, temporary);
  ops.renameSync(temporary, join(root, LATEST_NAME));
  syncFolder(root, ops);
}

/** Removes what an interrupted save or deletion left behind. */
function removeLeftovers(root: string, ops: DiskOps): void {
  for (const name of readdirSync(root)) {
    if (/^\.(saving|deleting)-/.test(name)) ops.rmSync(join(root, name), { recursive: true, force: true });
  }
}

/**
 * Deletes complete checkpoints beyond the newest `keep`. Incomplete ones do not count and stay, to be looked at. A
 * folder is renamed before it is emptied, so that a half-deleted one is never taken for a damaged checkpoint.
 */
function deleteOld(root: string, keep: number, ops: DiskOps): void {
  const complete = list(root).filter(({ path }) => {
    const manifest = readManifest(path);
    return typeof manifest !== 'string' && findMissing(path, manifest) === undefined;
  });
  for (const { path } of complete.slice(keep)) {
    const doomed = join(root, `.deleting-${path.slice(root.length + 1)}`);
    ops.renameSync(path, doomed);
    ops.rmSync(doomed, { recursive: true, force: true });
  }
}

function attempt(action: () => void): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Checkpoint folders, newest first: by step, then by revision. */
function list(root: string): (Checkpoint & { readonly revision: number })[] {
  const found = readdirSync(root).flatMap((name) => {
    const match = /^step-(\d{8,})(?:-r(\d+))?$/.exec(name);
    return match ? [{ path: join(root, name), step: Number(match[1]), revision: Number(match[2] ?? 0) }] : [];
  });
  return found.sort((a, b) => b.step - a.step || b.revision - a.revision);
}

export interface Latest {
  /** The newest checkpoint whose every byte is as it was written; absent when there is none. */
  readonly checkpoint?: Checkpoint;
  /** Newer ones that were passed over, each with a sentence that names the damaged file. */
  readonly damaged: readonly (Checkpoint & { readonly message: string })[];
}

/**
 * Finds the checkpoint to go on from. Checkpoints are read in full and compared with their checksums, newest first,
 * until one is whole. Throws when the folder exists but cannot be listed.
 */
export function findLatest(runDir: string): Latest {
  const root = checkpointsFolder(runDir);
  if (!existsSync(root)) return { damaged: [] };
  const damaged: (Checkpoint & { message: string })[] = [];
  try {
    for (const { path, step } of list(root)) {
      const message = verifyCheckpoint(path);
      if (message === undefined) return { checkpoint: { path, step }, damaged };
      damaged.push({ path, step, message });
    }
  } catch (cause) {
    throw ioError('list the checkpoints in', root, cause);
  }
  return { damaged };
}

/** Undefined when every file of the checkpoint is as it was written; otherwise a sentence that names the file. */
export function verifyCheckpoint(path: string): string | undefined {
  const manifest = readManifest(path);
  return typeof manifest === 'string' ? `${manifest}.` : sentence(findDamage(path, manifest));
}

const sentence = (text: string | undefined) => (text === undefined ? undefined : `${text}.`);
