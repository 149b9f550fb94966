import type { CommonEnd, CommonFacts, RunEvent } from '../../train/events.js';
import type { PreferenceScore } from './figures.js';

/** What happens in a run on preferences, in the order it happens. Plain data. */
export type PreferenceEvent =
  | RunEvent<PreferenceFacts, PreferenceRecord, PreferenceScore, PreferenceEnd>
  /** A sign of life: `done` of `total` texts. */
  | { readonly kind: 'phase'; readonly phase: 'reference' | 'evaluate'; readonly done: number; readonly total: number };

/** Known before the first step. */
export interface PreferenceFacts extends CommonFacts {
  readonly parameters: number;
  /** What is trained, for people: "reward model (pairwise)". */
  readonly title: string;
  /** "pairs" or "answers". */
  readonly unit: string;
  readonly train: number;
  readonly test: number;
  readonly ties: number;
  readonly same: number;
  readonly tooLong: number;
  readonly template: string;
}

/** One step: its figures as they are written to the metrics. */
export interface PreferenceRecord {
  /** Steps done. */
  readonly step: number;
  readonly steps: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/** What a run came to. */
export interface PreferenceEnd extends CommonEnd<PreferenceScore> {
  readonly losses: readonly (readonly [step: number, loss: number])[];
}
