import { join } from 'node:path';
import type { Settings } from '../config/index.js';
import type { Config } from '../hub/config_json.js';
import type { Saved } from '../train/run/checkpoint.js';
import type { GrpoConfig } from './config.js';
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
  /** Those that decide the steps. */
  readonly settings?: Settings | undefined;
}

/** Settings that change where a run is, how fast it goes or what is told of it, not what it learns. */
const FREE: ReadonlySet<string> = new Set([
  'model',
  'tokenizer',
  'out',
  'device',
  'threads',
  'parallel',
  'rowsAtOnce',
  'recompute',
  'evaluateEvery',
  'evaluateQuestions',
  'evaluateSamples',
  'saveEvery',
  'keep',
  'graderWorkers',
  'graderTimeout',
  'tensorboard',
  'completions',
] satisfies (keyof GrpoConfig)[]);

/** The settings that decide what a run learns. */
export const decisive = (config: GrpoConfig): Settings =>
  Object.fromEntries(Object.entries(config).filter(([name]) => !FREE.has(name)));

type Stateful = Pick<GrpoParts, 'model' | 'optimizer' | 'reference' | 'tokenizer' | 'config'>;

const trained = ({ model, optimizer, reference, tokenizer }: Stateful, base?: Config): Trained => ({
  name: 'grpo',
  title: 'GRPO',
  model,
  optimizer,
  tokenizer,
  base,
  tensors: reference?.state() ?? [],
});

/** Saves everything that the run needs to go on bit for bit; the folder also loads as a Hugging Face model. */
export function saveGrpo(parts: Stateful, place: GrpoPlace, base?: Config): Saved {
  const { out, keep } = parts.config;
  return saveTrained(trained(parts, base), out, keep, place);
}

/** A run folder inside the run's, with the checkpoint of the best evaluation. */
export const bestFolder = (out: string): string => join(out, 'best');

export function saveBest(parts: Stateful, place: GrpoPlace, base?: Config): Saved {
  return saveTrained(trained(parts, base), bestFolder(parts.config.out), 1, place);
}

/**
 * Goes on from a checkpoint. @throws TrainMoeError `bad-data` when it is none of GRPO, or of another model, type or setting.
 */
export function restoreGrpo(parts: Stateful, path: string): GrpoPlace {
  return restoreTrained(trained(parts), path);
}
