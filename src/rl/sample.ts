import type { FinishReason } from '../generate/index.js';
import type { BatchOptions, RewardResult } from './rewards/types.js';

/** A problem as the trainer needs it: its prompt in ids, and whatever the graders need to know of it. */
export interface Question {
  /** Which problem of the task. */
  readonly index: number;
  readonly prompt: string;
  readonly ids: readonly number[];
  readonly answer?: string | undefined;
  readonly meta?: Readonly<Record<string, unknown>> | undefined;
}

/** One completion of a question, as it was sampled. */
export interface Sample {
  readonly question: Question;
  readonly ids: readonly number[];
  /** log pi of each id at the sampling temperature, as the engine gave them. */
  readonly logProbs: readonly number[];
  readonly text: string;
  readonly finish: FinishReason;
}

/** What is rewarded: one row per sample, one result per reward, in the order of `rewards`; the first says right or wrong. */
export interface Grader {
  readonly rewards: readonly { readonly name: string; readonly weight: number }[];
  /** Never throws for what a sample or a reward does: that sample is skipped with the reason. */
  grade(samples: readonly Sample[], options: BatchOptions): Promise<readonly (readonly RewardResult[])[]>;
  /** What must come back for a resumed run to grade the same, as JSON. */
  state?(): unknown;
  restore?(state: unknown): void;
}

/** Where questions come from. The same index gives the same question. */
export interface QuestionSource {
  readonly name: string;
  train(index: number): Question;
  /** Questions that are never trained on; undefined past the last one. */
  test(index: number): Question | undefined;
}

/** A completion with what it earned. */
export interface Graded extends Sample {
  readonly results: readonly RewardResult[];
  /** The weighted sum, with the penalty for length; undefined when a grader failed on it. */
  readonly reward: number | undefined;
  readonly advantage: number;
}

/** All completions of one question. */
export interface Group {
  readonly question: Question;
  readonly samples: readonly Graded[];
  /** All rewards are the same: nothing to learn from. */
  readonly flat: boolean;
}
