import {
  type Collection,
  type CollectReport,
  collect,
  defaultCorpus,
  type SplitName,
  tokenize,
} from '../data/index.js';
import { formatAmount } from '../terminal/format.js';
import { openTokenizer } from '../tokenizer/index.js';
import { forDocuments } from '../train/masking.js';
import { withLines } from './jsonl.js';

/** What `train-moe collect` is asked to do. */
export interface CollectRequest {
  readonly sources: readonly string[];
  readonly field: string;
  readonly dedup: boolean;
  readonly skipBad: boolean;
  readonly validation: number;
  readonly test: number;
  readonly out?: string | undefined;
  readonly tokenizer?: string | undefined;
  readonly cache?: string | undefined;
}

/** What it found and wrote. */
export interface CollectSummary {
  /** How the text was chosen, when no source was named. */
  readonly note?: string | undefined;
  readonly report: CollectReport;
  readonly out?: string | undefined;
  readonly shards?: Shards | undefined;
}

interface Shards {
  readonly folder: string;
  readonly vocabSize: number;
  readonly splits: Readonly<
    Record<SplitName, { readonly documents: number; readonly tokens: number; readonly bytes: number }>
  >;
}

/** Reads the corpus once: to token shards, to JSON Lines, or just to report on it. */
export async function runCollect(request: CollectRequest): Promise<CollectSummary> {
  const chosen = request.sources.length > 0 ? undefined : defaultCorpus();
  const collection = collect(chosen?.sources ?? request.sources, {
    field: request.field,
    dedup: request.dedup,
    onProblem: request.skipBad ? 'report' : 'throw',
  });
  const about = { note: chosen?.sentence, out: request.out };
  if (request.tokenizer !== undefined && request.cache !== undefined) {
    const { report, shards } = await writeShards(collection, request.tokenizer, request.cache, request);
    return { ...about, report, shards };
  }
  if (request.out !== undefined) await writeLines(collection, request.out);
  else for await (const _ of collection.documents());
  return { ...about, report: collection.report };
}

async function writeLines(collection: Collection, out: string): Promise<void> {
  await withLines(out, async (write) => {
    for await (const { text, source, offset } of collection.documents())
      await write(JSON.stringify({ text, source, offset }));
  });
}

async function writeShards(
  collection: Collection,
  tokenizer: string,
  cacheDir: string,
  { validation, test }: CollectRequest,
): Promise<{ report: CollectReport; shards: Shards }> {
  const set = await tokenize(collection, forDocuments(openTokenizer(tokenizer)), {
    cacheDir,
    fractions: { validation, test },
  });
  const about = (name: SplitName) => {
    const { documents, tokens, bytes } = set.split(name);
    return { documents, tokens, bytes };
  };
  const splits = { train: about('train'), validation: about('validation'), test: about('test') };
  return { report: set.report, shards: { folder: set.folder, vocabSize: set.vocabSize, splits } };
}

const SHOWN_PROBLEMS = 10;

/** The summary for people. */
export function summaryLines({ note, report, out, shards }: CollectSummary): string[] {
  const lines = note === undefined ? [] : [note];
  lines.push(
    `${formatAmount(report.documents, 'document')}, ${megabytes(report.bytes)} from ${formatAmount(report.files, 'file')}`,
  );
  const dropped = [
    [report.duplicates, 'exact duplicate'],
    [report.empty, 'empty text'],
  ] as const;
  for (const [number, what] of dropped) if (number > 0) lines.push(`  dropped ${formatAmount(number, what)}`);
  if (report.repairs > 0)
    lines.push(
      `  repaired ${formatAmount(report.repairs, 'place')} that ${report.repairs === 1 ? 'was' : 'were'} not Unicode`,
    );
  if (report.problemCount > 0) lines.push(`  ${formatAmount(report.problemCount, 'problem')}:`);
  for (const { message } of report.problems.slice(0, SHOWN_PROBLEMS)) lines.push(`    ${message}`);
  if (report.problemCount > SHOWN_PROBLEMS)
    lines.push(`    and ${report.problemCount - SHOWN_PROBLEMS} more (--json lists more)`);
  if (out !== undefined) lines.push(`written to ${out}`);
  if (shards) {
    lines.push(`token shards in ${shards.folder}`);
    for (const [name, { documents, tokens }] of Object.entries(shards.splits))
      lines.push(`  ${name.padEnd(10)} ${formatAmount(documents, 'document')}, ${formatAmount(tokens, 'token')}`);
  }
  return lines;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
