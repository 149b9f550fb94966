import type { TaskScore } from './evaluate.js';
import type { Phase } from './grpo.js';

/** What happens in a run, in the order it happens. Plain data. */
export type GrpoEvent =
  | { readonly kind: 'note'; readonly sentence: string }
  | { readonly kind: 'start'; readonly run: GrpoFacts }
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
    }
  | { readonly kind: 'step'; readonly record: GrpoRecord }
  | { readonly kind: 'evaluation'; readonly at: number; readonly score: TaskScore }
  | { readonly kind: 'saved'; readonly at: number; readonly path: string }
  | { readonly kind: 'end'; readonly end: GrpoEnd };

/** Known before the first step. */
export interface GrpoFacts {
  readonly out: string;
  readonly device: string;
  readonly deviceReason: string | undefined;
  readonly threads: number;
  readonly dtype: 'f32' | 'bf16';
  readonly parameters: number;
  readonly task: string;
  readonly rewards: readonly string[];
  readonly firstStep: number;
  readonly steps: number;
}

/** One step: its figures as they are written to the metrics, and a few completions to look at. */
export interface GrpoRecord {
  readonly step: number; // steps done
  readonly steps: number;
  readonly metrics: Readonly<Record<string, number>>;
  readonly shown: readonly ShownSample[];
}

export interface ShownSample {
  readonly prompt: string;
  readonly completion: string;
  readonly answer: string | undefined;
  readonly reward: number | undefined;
  readonly advantage: number;
  readonly tokens: number;
}

export interface GrpoEnd {
  readonly step: number;
  readonly stopped: boolean; // by a signal, before the last step
  readonly checkpoint: string | undefined;
  readonly seconds: number;
  readonly rewards: readonly (readonly [step: number, reward: number])[];
  readonly before: TaskScore | undefined;
  readonly after: TaskScore | undefined;
  /** Why the guard against reward hacking ended the run, if it did. */
  readonly fallen?: string | undefined;
}
