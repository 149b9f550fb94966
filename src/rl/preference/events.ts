import type { PreferenceScore } from './figures.js';

/** What happens in a run on preferences, in the order it happens. Plain data. */
export type PreferenceEvent =
  | { readonly kind: 'note'; readonly sentence: string }
  | { readonly kind: 'start'; readonly run: PreferenceFacts }
  /** A sign of life: `done` of `total` texts. */
  | { readonly kind: 'phase'; readonly phase: 'reference' | 'evaluate'; readonly done: number; readonly total: number }
  | { readonly kind: 'step'; readonly record: PreferenceRecord }
  | { readonly kind: 'evaluation'; readonly at: number; readonly score: PreferenceScore }
  | { readonly kind: 'saved'; readonly at: number; readonly path: string }
  | { readonly kind: 'end'; readonly end: PreferenceEnd };

/** Known before the first step. */
export interface PreferenceFacts {
  readonly out: string;
  readonly device: string;
  readonly deviceReason: string | undefined;
  readonly threads: number;
  readonly dtype: 'f32' | 'bf16';
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
  readonly firstStep: number;
  readonly steps: number;
}

/** One step: its figures as they are written to the metrics. */
export interface PreferenceRecord {
  readonly step: number; // steps done
  readonly steps: number;
  readonly metrics: Readonly<Record<string, number>>;
}

export interface PreferenceEnd {
  readonly step: number;
  readonly stopped: boolean; // by a signal, before the last step
  readonly checkpoint: string | undefined;
  readonly seconds: number;
  readonly losses: readonly (readonly [step: number, loss: number])[];
  readonly before: PreferenceScore | undefined;
  readonly after: PreferenceScore | undefined;
}
