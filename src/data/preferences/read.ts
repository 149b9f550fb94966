import { createHash } from 'node:crypto';
import { TrainMoeError } from '../../errors.js';
import type { Message } from '../../tokenizer/chat/index.js';
import { readRecords } from '../records.js';
import { splitPosition } from '../split.js';
import { labelledOf, pairOf } from './formats.js';
import type { LabelledAnswer, PreferencePair } from './types.js';

/** What was read, and how many records said nothing. */
export interface Preferences<T> {
  readonly train: readonly T[];
  /** Held out, never trained on: every pair of a prompt is on the same side. */
  readonly test: readonly T[];
  readonly ties: number;
  readonly same: number;
}

/** How preferences are read. */
export interface PreferenceOptions {
  /** Share of the prompts that is for testing. */
  readonly heldOut: number;
  /** Prompts given as a plain string: `text` (default) is continued as it stands, `user` becomes a turn of the chat template. */
  readonly promptAs?: 'text' | 'user';
}

/**
 * The pairs of files in any of the known formats (JSON Lines, JSON, Parquet). Which prompts are held
 * out depends on their text alone, so files may grow or change places.
 * @throws TrainMoeError `bad-data` naming file, line and what is wrong with the first bad record, or that nothing is left to
 *   train; `not-found` when a file does not exist
 */
export async function readPairs(
  files: readonly string[],
  options: PreferenceOptions,
): Promise<Preferences<PreferencePair>> {
  const all: PreferencePair[] = [];
  const skipped = { tie: 0, same: 0 };
  for (const file of files)
    for await (const record of readRecords(file)) {
      const pair = pairOf(record);
      if ('undecided' in pair) skipped[pair.undecided]++;
      else all.push(pair);
    }
  return { ...divided(all, options, files), ties: skipped.tie, same: skipped.same };
}

/**
 * Labelled answers: records with prompt, completion and label; a pair counts as two, its chosen side with the label 1.
 * Otherwise as readPairs().
 */
export async function readLabelled(
  files: readonly string[],
  options: PreferenceOptions,
): Promise<Preferences<LabelledAnswer>> {
  const all: LabelledAnswer[] = [];
  const skipped = { tie: 0, same: 0 };
  for (const file of files)
    for await (const record of readRecords(file)) {
      if ('label' in record.fields) {
        all.push(labelledOf(record));
        continue;
      }
      const pair = pairOf(record);
      if ('undecided' in pair) skipped[pair.undecided]++;
      else
        for (const [answer, label] of [
          [pair.chosen, 1],
          [pair.rejected, 0],
        ] as const)
          all.push({ prompt: pair.prompt, answer, label, plain: pair.plain, place: pair.place });
    }
  return { ...divided(all, options, files), ties: skipped.tie, same: skipped.same };
}

function divided<T extends { readonly prompt: readonly Message[]; readonly plain: boolean }>(
  found: readonly T[],
  { heldOut, promptAs = 'text' }: PreferenceOptions,
  files: readonly string[],
) {
  const all = promptAs === 'user' ? found.map((item) => ({ ...item, plain: false })) : found;
  const isHeld = (item: T) => placeOf(item.prompt) < heldOut;
  const train = all.filter((item) => !isHeld(item));
  if (train.length > 0) return { train, test: all.filter(isHeld) };
  const why = all.length === 0 ? 'there is no preference that says anything' : `${heldOut} of the prompts are held out`;
  throw new TrainMoeError('bad-data', `Nothing is left to train on in ${files.join(', ')}: ${why}.`);
}

/** A prompt's place in [0, 1), by its text alone. */
function placeOf(prompt: readonly Message[]): number {
  const text = JSON.stringify(prompt.map(({ role, content }) => [role, content]));
  return splitPosition(createHash('sha256').update(text, 'utf8').digest());
}
