import type { CommonEnd, CommonFacts, RunEvent } from '../events.js';
import type { SftCounts } from './data.js';

/** What happens in a run of supervised fine-tuning, in the order it happens. Plain data. */
export type SftEvent =
  | RunEvent<SftFacts, SftRecord, SftScore, SftEnd>
  | { readonly kind: 'reading'; readonly conversations: number };

/** Known before the first step. */
export interface SftFacts extends CommonFacts {
  readonly parameters: number;
  readonly trainedParameters: number;
  readonly template: string;
  readonly counts: SftCounts;
  readonly examples: number;
  readonly heldOut: number;
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

export interface SftEnd extends CommonEnd<SftScore> {
  readonly losses: readonly (readonly [step: number, loss: number])[];
}
