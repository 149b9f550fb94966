import { closeSync, openSync, readdirSync, readSync, realpathSync, type Stats, statSync } from 'node:fs';
import path from 'node:path';
import { TrainMoeError } from '../../errors.js';
import { type FileKind, FORMATS_SENTENCE, kindOf } from './formats.js';
import { byCodeUnit, glob, isGlob } from './glob.js';
import { type Reporter, reason } from './report.js';

/** A file to read, with what identifies its state. */
export interface SourceFile extends FileKind {
  readonly path: string;
  readonly size: number;
  readonly mtimeMs: number;
}

/** Folders nobody means when naming the folder above them. */
const SKIPPED_FOLDERS: ReadonlySet<string> = new Set(['.git', '.hg', '.svn', 'node_modules', '__pycache__', '.venv']);

const SNIFF_BYTES = 8192;

/**
 * The files behind `sources` (files, folders, glob patterns), in an order that depends on names only: sources as given,
 * below them by code unit. A file reached twice is taken once. Links are followed; a folder is entered once, so loops
 * end. Folders are searched for known endings; files that are named, or matched by a pattern, may have any ending.
 * Throws `not-found` for a source that does not exist or a pattern that matches nothing.
 */
export function listFiles(sources: readonly string[], reporter: Reporter): SourceFile[] {
  const listing: Listing = { files: [], seen: new Set(), reporter };
  for (const source of sources) {
    const stats = statSync(source, { throwIfNoEntry: false });
    const skip = skipRule(source);
    if (stats !== undefined) addPath(source, stats, true, skip, listing);
    else if (isGlob(source)) addMatches(source, skip, listing);
    else throw new TrainMoeError('not-found', `${source} does not exist; give a file, a folder or a glob pattern.`);
  }
  return listing.files;
}

interface Listing {
  readonly files: SourceFile[];
  /** `device:inode` of every file and folder taken so far. */
  readonly seen: Set<string>;
  readonly reporter: Reporter;
}

/** A folder that the source itself names is not skipped. */
function skipRule(source: string): (name: string) => boolean {
  const named = new Set(path.resolve(source).split(path.sep));
  return (name) => SKIPPED_FOLDERS.has(name) && !named.has(name);
}

function addMatches(pattern: string, skip: (name: string) => boolean, listing: Listing): void {
  const matches = glob(pattern, skip);
  if (matches.length === 0) {
    throw new TrainMoeError('not-found', `The pattern ${pattern} matches no file (from ${process.cwd()}).`);
  }
  for (const match of matches) {
    const stats = statOrNote(match, listing.reporter);
    // A folder that a pattern matched stands for nothing by itself: `src/*` means the files, `src/**` all below.
    if (stats?.isFile()) addPath(match, stats, true, skip, listing);
  }
}

function addPath(file: string, stats: Stats, named: boolean, skip: (name: string) => boolean, listing: Listing): void {
  const identity = `${stats.dev}:${stats.ino}`;
  if (listing.seen.has(identity)) return;
  listing.seen.add(identity);
  if (stats.isDirectory()) {
    addFolder(file, skip, listing);
    return;
  }
  const kind = kindOf(path.basename(file)) ?? (named ? ({ format: 'text', gzip: false } as const) : undefined);
  if (kind === undefined) return;
  if (!stats.isFile()) {
    if (named) throw new TrainMoeError('bad-argument', `${file} is neither a file nor a folder.`);
    return;
  }
  if (isBinary(file, kind, listing.reporter)) return;
  listing.files.push({ ...kind, path: file, size: stats.size, mtimeMs: stats.mtimeMs });
}

function addFolder(folder: string, skip: (name: string) => boolean, listing: Listing): void {
  let names: string[];
  try {
    names = readdirSync(folder).sort(byCodeUnit);
  } catch (error) {
    unreadable(folder, error, listing.reporter);
    return;
  }
  for (const name of names) {
    const entry = path.join(folder, name);
    if (skip(name)) continue;
    const stats = statOrNote(entry, listing.reporter);
    if (stats === undefined) continue;
    if (stats.isDirectory() && listing.seen.has(`${stats.dev}:${stats.ino}`)) noteLoop(entry, listing.reporter);
    else addPath(entry, stats, false, skip, listing);
  }
}

/** Only a link can lead back to a folder that was already entered. */
function noteLoop(folder: string, reporter: Reporter): void {
  reporter.note({
    kind: 'link-loop',
    file: folder,
    message: `${folder} leads to ${realpathSync(folder)}, which was already read; it was not entered again.`,
  });
}

function statOrNote(file: string, reporter: Reporter): Stats | undefined {
  try {
    return statSync(file);
  } catch (error) {
    unreadable(file, error, reporter);
    return undefined;
  }
}

function unreadable(file: string, error: unknown, reporter: Reporter): void {
  reporter.reject(
    { kind: 'unreadable', file, message: `${file} cannot be read: ${reason(error)}; mend it or leave it out.` },
    error,
  );
}

/**
 * A NUL byte near the start of code, Markdown or a file without a known ending means it is no text. `.txt` and the data
 * formats are taken at their word.
 */
function isBinary(file: string, kind: FileKind, reporter: Reporter): boolean {
  const trusted = kind.gzip || (kind.format !== 'whole' && kindOf(path.basename(file)) !== undefined);
  if (trusted) return false;
  try {
    if (!firstBytes(file).includes(0)) return false;
  } catch (error) {
    unreadable(file, error, reporter);
    return true;
  }
  reporter.note({
    kind: 'binary',
    file,
    message: `${file} was left out: it holds NUL bytes, so it is not text (known: ${FORMATS_SENTENCE}).`,
  });
  return true;
}

function firstBytes(file: string): Buffer {
  const handle = openSync(file, 'r');
  try {
    const head = Buffer.alloc(SNIFF_BYTES);
    return head.subarray(0, readSync(handle, head, 0, SNIFF_BYTES, 0));
  } finally {
    closeSync(handle);
  }
}
