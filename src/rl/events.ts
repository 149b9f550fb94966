import type { CommonEnd, CommonFacts, RunEvent } from '../train/events.js';
import type { TaskScore } from './evaluate.js';
import type { Phase } from './grpo.js';

/** What happens in a run, in the order it happens. Plain data. */
export type GrpoEvent =
  | RunEvent<GrpoFacts, GrpoRecord, TaskScore, GrpoEnd>
  /**
   * A sign of life within a step: `done` counts tokens, samples or updates of the phase. In a phase that takes long it comes
   * again every few seconds, with the `seconds` since the last one that was news.
   */
  | {
      readonly kind: 'phase';
      readonly step: number;
      readonly phase: Phase | 'evaluate';
      readonly done: number;
      readonly seconds?: number;
    };

/** Known before the first step. */
export interface GrpoFacts extends CommonFacts {
  readonly parameters: number;
  readonly task: string;
  readonly rewards: readonly string[];
}

/** One step: its figures as they are written to the metrics, and a few completions to look at. */
export interface GrpoRecord {
  /** Steps done. */
  readonly step: number;
  readonly steps: number;
  readonly metrics: Readonly<Record<string, number>>;
  readonly shown: readonly ShownSample[];
}

/** A completion to look at. */
export interface ShownSample {
  readonly prompt: string;
  readonly completion: string;
  readonly answer: string | undefined;
  readonly reward: number | undefined;
  readonly advantage: number;
  readonly tokens: number;
}

/** What a run came to. */
export interface GrpoEnd extends CommonEnd<TaskScore> {
  readonly rewards: readonly (readonly [step: number, reward: number])[];
  /** Why the guard against reward hacking ended the run, if it did. */
  readonly fallen?: string | undefined;
}
