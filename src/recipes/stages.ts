import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ioError } from '../hub/io_error.js';

/**
 * Stages of a recipe, addressed by content: a stage is known by the hash of its name, its settings and the hashes of what
 * it starts from. Its folder `<name>-<hash>` holds `stage.json` once it is finished, written last and at one stroke. So a
 * stage whose inputs did not change is not run again, a changed setting reruns that stage and those behind it only, and a
 * recipe that was killed goes on: the stage it was in finds its own run folder as it left it.
 */

/** Anything that JSON keeps. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** What a later stage starts from: a finished one, or something from outside with a name and a hash. */
export interface Input {
  readonly name: string;
  readonly hash: string;
}

/** A stage of a recipe before it has run. */
export interface Stage<T extends Json> {
  readonly name: string;
  /** All that decides the result, besides the inputs: no paths, no thread counts. */
  readonly settings: Json;
  readonly inputs: readonly Input[];
  /** Does the work in the stage's own folder and returns what is worth keeping of it. A second call goes on. */
  readonly run: (folder: string) => T | Promise<T>;
}

/** A stage that has run. */
export interface Finished<T extends Json = Json> extends Input {
  readonly folder: string;
  readonly seconds: number;
  readonly result: T;
}

/** Told when a stage begins, and when it is there; `found`: it was there already. */
export type StageEvent =
  | { readonly kind: 'begin'; readonly name: string; readonly folder: string }
  | { readonly kind: 'finish'; readonly stage: Finished; readonly found: boolean };

const RECORD = 'stage.json';

/** The stage's result: read when it is finished, else worked out. @throws whatever the work throws */
export async function runStage<T extends Json>(
  root: string,
  { name, settings, inputs, run }: Stage<T>,
  tell: (event: StageEvent) => void = () => {},
): Promise<Finished<T>> {
  const hash = stageHash(name, settings, inputs);
  const folder = join(root, `${name}-${hash.slice(0, 12)}`);
  const known = readRecord(folder, hash);
  if (known) {
    const stage = { name, hash, folder, seconds: known.seconds, result: known.result as T };
    tell({ kind: 'finish', stage, found: true });
    return stage;
  }
  tell({ kind: 'begin', name, folder });
  mkdirSync(folder, { recursive: true });
  const start = performance.now();
  // Through JSON at once, so that a stage gives the same whether it was run or found.
  const result = JSON.parse(JSON.stringify(await run(folder))) as T;
  const seconds = (performance.now() - start) / 1000;
  const stage = { name, hash, folder, seconds, result };
  writeRecord(folder, { hash, seconds, settings, inputs: inputs.map((i) => ({ name: i.name, hash: i.hash })), result });
  tell({ kind: 'finish', stage, found: false });
  return stage;
}

/** SHA-256 of a stage's name, settings and inputs. The order of keys does not matter, that of inputs does. */
export function stageHash(name: string, settings: Json, inputs: readonly Input[]): string {
  const parts = { name, settings, inputs: inputs.map((input) => ({ name: input.name, hash: input.hash })) };
  return createHash('sha256').update(canonical(parts)).digest('hex');
}

/** JSON with the keys of every object in order. */
export function canonical(value: Json): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

interface StageRecord {
  readonly hash: string;
  readonly seconds: number;
  readonly settings: Json;
  readonly inputs: readonly Input[];
  readonly result: Json;
}

/** The record of a finished stage; undefined where there is none, or none that can be read. */
function readRecord(folder: string, hash: string): StageRecord | undefined {
  const path = join(folder, RECORD);
  if (!existsSync(path)) return undefined;
  try {
    const record = JSON.parse(readFileSync(path, 'utf8')) as StageRecord;
    return record.hash === hash && 'result' in record ? record : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw ioError('read', path, error);
  }
}

function writeRecord(folder: string, record: StageRecord): void {
  const path = join(folder, RECORD);
  try {
    writeFileSync(`${path}.part`, `${JSON.stringify(record, null, 2)}\n`);
    renameSync(`${path}.part`, path);
  } catch (cause) {
    throw ioError('write', path, cause);
  }
}
