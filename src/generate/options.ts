import { TrainMoeError } from '../errors.js';

/** How to choose tokens. Temperature 0 is greedy. */
export interface SampleOptions {
  readonly temperature?: number; // default 1
  readonly topK?: number; // 0: off
  readonly topP?: number; // 1: off. Holtzman et al., arXiv:1904.09751
  readonly minP?: number; // 0: off; relative to the largest probability. Nguyen et al., arXiv:2407.01082
  readonly repetitionPenalty?: number; // 1: off. Keskar et al., arXiv:1909.05858
  /** Completion i of a prompt uses seed + i; the same seed gives the same tokens whatever else is in the batch. */
  readonly seed?: number;
}

export interface GenerateOptions extends SampleOptions {
  readonly maxTokens?: number; // default 256
  /** Completions per prompt; they share its cache. */
  readonly count?: number;
  /** Ids that end a completion (and are part of it), e.g. the end of a turn. */
  readonly stopIds?: readonly number[];
  /** Texts that end a completion; the text is cut before them. Needs a tokenizer. */
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
    stop: o.stop ?? [],
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

function check(name: string, value: number, holds: boolean, expected: string): void {
  if (!holds) throw new TrainMoeError('bad-argument', `${name} is ${value}; it must be ${expected}.`);
}
