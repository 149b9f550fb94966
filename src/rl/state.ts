import { join } from 'node:path';
import type { Config } from '../hub/config_json.js';
import type { Saved } from '../train/run/checkpoint.js';
import type { Beginning } from '../train/run/policy.js';
import type { GrpoParts } from './grpo.js';
import type { Guard } from './guard.js';
import { restoreTrained, saveTrained, type Trained } from './saved.js';

/** The place a run has reached. All chance comes from the settings' seed and the step, so nothing else need be kept. */
export interface GrpoPlace {
  readonly step: number;
  readonly nextQuestion: number;
  readonly guard?: Guard | undefined;
  /** What the graders keep. */
  readonly grader?: unknown;
}

/** The kind of run, in file names and in sentences. */
export const GRPO = { name: 'grpo', title: 'GRPO' } as const;

type Stateful = Pick<GrpoParts, 'model' | 'optimizer' | 'reference' | 'tokenizer' | 'config'> & {
  readonly beginning: Beginning;
};

const trained = ({ model, optimizer, reference, tokenizer, config, beginning }: Stateful, base?: Config): Trained => ({
  ...GRPO,
  out: config.out,
  beginning,
  model,
  optimizer,
  tokenizer,
  base,
  tensors: reference?.state() ?? [],
});

/** Saves everything that the run needs to go on bit for bit; the folder also loads as a Hugging Face model. */
export function saveGrpo(parts: Stateful, place: GrpoPlace, base?: Config): Saved {
  return saveTrained(trained(parts, base), parts.config.keep, place);
}

/** A run folder inside the run's, with the checkpoint of the best evaluation. */
export const bestFolder = (out: string): string => join(out, 'best');

export function saveBest(parts: Stateful, place: GrpoPlace, base?: Config): Saved {
  return saveTrained(trained(parts, base), 1, place, bestFolder(parts.config.out));
}

/**
 * Goes on from a checkpoint. @throws TrainMoeError `bad-data` when it is none of GRPO, or of another model or type, `bad-config`
 * when it is of other settings
 */
export function restoreGrpo(parts: Stateful, path: string): GrpoPlace {
  return restoreTrained(trained(parts), path);
}
