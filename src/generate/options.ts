import { TrainMoeError } from '../errors.js';

/** How to choose tokens. */
export interface SampleOptions {
  /** Logits are divided by it; 0 is greedy, 1 (default) the model's own distribution. */
  readonly temperature?: number;
  /** Only so many of the likeliest tokens; 0 (default): all. */
  readonly topK?: number;
  /** Only the likeliest tokens that together have this probability; 1 (default): all. Holtzman et al., arXiv:1904.09751. */
  readonly topP?: number;
  /** Only tokens with this share of the largest probability; 0 (default): all. Nguyen et al., arXiv:2407.01082. */
  readonly minP?: number;
  /** Makes tokens that occurred less likely; 1 (default): no. Keskar et al., arXiv:1909.05858. */
  readonly repetitionPenalty?: number;
  /** Completion i of a prompt uses seed + i; the same seed gives the same tokens whatever else is in the batch. */
  readonly seed?: number;
}

/** How to continue a prompt. */
export interface GenerateOptions extends SampleOptions {
  /** Longest completion, in tokens; default 256. */
  readonly maxTokens?: number;
  /** Completions per prompt, 1 by default; they share its cache. */
  readonly count?: number;
  /** Ids that end a completion (and are part of it), e.g. the end of a turn. */
  readonly stopIds?: readonly number[];
}

/** How to continue a prompt as text. */
export interface TextOptions extends GenerateOptions {
  /** Texts that end a completion; the text is cut before them. */
  readonly stop?: readonly string[];
}

/** All options filled in. */
export type ResolvedOptions = Required<GenerateOptions>;

/** @throws TrainMoeError `bad-argument` naming the option that is out of range. */
export function resolveOptions(o: GenerateOptions): ResolvedOptions {
  const resolved: ResolvedOptions = {
    temperature: o.temperature ?? 1,
    topK: o.topK ?? 0,
    topP: o.topP ?? 1,
    minP: o.minP ?? 0,
    repetitionPenalty: o.repetitionPenalty ?? 1,
    seed: o.seed ?? 0,
    maxTokens: o.maxTokens ?? 256,
    count: o.count ?? 1,
    stopIds: o.stopIds ?? [],
  };
  check(
    'temperature',
    resolved.temperature,
    resolved.temperature >= 0 && Number.isFinite(resolved.temperature),
    '0 or more',
  );
  check('topK', resolved.topK, Number.isInteger(resolved.topK) && resolved.topK >= 0, 'an integer, 0 or more');
  check('topP', resolved.topP, resolved.topP > 0 && resolved.topP <= 1, 'above 0 and at most 1');
  check('minP', resolved.minP, resolved.minP >= 0 && resolved.minP < 1, 'from 0 to below 1');
  check('repetitionPenalty', resolved.repetitionPenalty, resolved.repetitionPenalty > 0, 'above 0');
  check(
    'maxTokens',
    resolved.maxTokens,
    Number.isInteger(resolved.maxTokens) && resolved.maxTokens > 0,
    'a positive integer',
  );
  check('count', resolved.count, Number.isInteger(resolved.count) && resolved.count > 0, 'a positive integer');
  check('seed', resolved.seed, Number.isInteger(resolved.seed), 'an integer');
  return resolved;
}

/** @throws TrainMoeError `bad-argument` unless the value `holds` */
export function check(name: string, value: number, holds: boolean, expected: string): void {
  if (!holds) throw new TrainMoeError('bad-argument', `${name} is ${value}; it must be ${expected}.`);
}
