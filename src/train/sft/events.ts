import type { CommonEnd, CommonFacts, RunEvent } from '../events.js';
import type { SftCounts } from './data.js';

/** What happens in a run of supervised fine-tuning, in the order it happens. Plain data. */
export type SftEvent =
  | RunEvent<SftFacts, SftRecord, SftScore, SftEnd>
  | { readonly kind: 'reading'; readonly conversations: number };

/** Known before the first step. */
export interface SftFacts extends CommonFacts {
  /** Processes that share each step. */
  readonly ranks: number;
  readonly parameters: number;
  readonly trainedParameters: number;
  readonly template: string;
  readonly counts: SftCounts;
  readonly examples: number;
  readonly heldOut: number;
}

/** One step, as it is written to the metrics. */
export interface SftRecord {
  /** Steps done. */
  readonly step: number;
  readonly steps: number;
  /** From 1. */
  readonly epoch: number;
  /** Mean over the trained tokens, nats. */
  readonly loss: number;
  readonly mtpLoss: number | undefined;
  readonly balanceLoss: number | undefined;
  readonly gradNorm: number;
  readonly lr: number;
  /** Of this step. */
  readonly trainedTokens: number;
  /** Of this step, prompts and empty positions included. */
  readonly tokens: number;
  readonly tokensPerSecond: number;
  /** Share of the positions that hold tokens. */
  readonly fill: number;
}

/** The loss on the held-out examples. */
export interface SftScore {
  /** Mean over the trained tokens, nats. */
  readonly loss: number;
  readonly tokens: number;
  readonly examples: number;
}

/** What a run came to. */
export interface SftEnd extends CommonEnd<SftScore> {
  readonly losses: readonly (readonly [step: number, loss: number])[];
}
