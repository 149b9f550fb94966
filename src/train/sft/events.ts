import type { SftCounts } from './data.js';

/** What happens in a run of supervised fine-tuning, in the order it happens. Plain data. */
export type SftEvent =
  | { readonly kind: 'note'; readonly sentence: string }
  | { readonly kind: 'reading'; readonly conversations: number }
  | { readonly kind: 'start'; readonly run: SftFacts }
  | { readonly kind: 'step'; readonly record: SftRecord }
  | { readonly kind: 'evaluation'; readonly at: number; readonly score: SftScore }
  | { readonly kind: 'saved'; readonly at: number; readonly path: string }
  | { readonly kind: 'end'; readonly end: SftEnd };

/** Known before the first step. */
export interface SftFacts {
  readonly out: string;
  readonly device: string;
  readonly deviceReason: string | undefined;
  readonly threads: number;
  readonly dtype: 'f32' | 'bf16';
  readonly parameters: number;
  readonly trainedParameters: number;
  readonly template: string;
  readonly counts: SftCounts;
  readonly examples: number;
  readonly heldOut: number;
  readonly firstStep: number;
  readonly steps: number;
}

/** One step, as it is written to the metrics. */
export interface SftRecord {
  readonly step: number; // steps done
  readonly steps: number;
  readonly epoch: number; // from 1
  readonly loss: number; // mean over the trained tokens, nats
  readonly mtpLoss: number | undefined;
  readonly balanceLoss: number | undefined;
  readonly gradNorm: number;
  readonly lr: number;
  readonly trainedTokens: number; // of this step
  readonly tokens: number; // of this step, prompts and empty positions included
  readonly tokensPerSecond: number;
  readonly fill: number; // share of the positions that hold tokens
}

/** The loss on the held-out examples. */
export interface SftScore {
  readonly loss: number; // mean over the trained tokens, nats
  readonly tokens: number;
  readonly examples: number;
}

export interface SftEnd {
  readonly step: number;
  readonly stopped: boolean; // by a signal, before the last step
  readonly checkpoint: string | undefined;
  readonly seconds: number;
  readonly losses: readonly (readonly [step: number, loss: number])[];
  readonly before: SftScore | undefined;
  readonly after: SftScore | undefined;
}
