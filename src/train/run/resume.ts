import type { z } from 'zod';
import { defaultsOf } from '../../config/keys.js';
import type { Settings } from '../../config/layers.js';
import { type Checkpoint, findLatest } from './checkpoint.js';
import { type Beginning, type RunKind, refuseOthers, settingsToKeep } from './policy.js';
import { readPlace } from './state.js';

/** A checkpoint that fits the settings. */
export interface GoingOn extends Checkpoint {
  /** To be told once it is restored: where the run goes on, and of an end that is another than before. */
  readonly sentence: string;
}

/**
 * The checkpoint that a run goes on from; undefined where it begins. Asked before anything is read or computed; `note` is told
 * of newer ones that are damaged.
 * @param schema of the settings
 * @throws TrainMoeError as refuseOthers(), and `bad-data` when the folder's checkpoint is of another kind of run
 */
export function checkpointToGoOn(
  out: string,
  { name, title }: { readonly name: RunKind; readonly title: string },
  config: Settings,
  schema: z.ZodType,
  note: (sentence: string) => void,
): GoingOn | undefined {
  const { checkpoint, damaged } = findLatest(out);
  for (const { message } of damaged) note(`A checkpoint was passed over: ${message}`);
  if (!checkpoint) return undefined;
  const held = readPlace<Partial<Beginning>>({ name, title }, checkpoint.path);
  const further = refuseOthers(out, name, held, { settings: settingsToKeep(name, config) }, defaultsOf(schema));
  const sentence = `Going on from step ${checkpoint.step} (${checkpoint.path}).${further ? ` ${further}` : ''}`;
  return { ...checkpoint, sentence };
}
