import type { MemoryEstimate } from './estimate.js';
import type { Evaluation } from './evaluate.js';

/** What happens in a run, in the order it happens. Plain data, so that it crosses from a worker thread. */
export type TrainEvent =
  | { readonly kind: 'note'; readonly sentence: string }
  | {
      readonly kind: 'progress';
      readonly phase: string;
      readonly done: number;
      readonly total: number | undefined;
      readonly unit: string;
    }
  | { readonly kind: 'start'; readonly run: RunFacts }
  | { readonly kind: 'step'; readonly step: StepRecord }
  | { readonly kind: 'evaluation'; readonly at: number; readonly evaluation: Evaluation }
  | { readonly kind: 'saved'; readonly at: number; readonly path: string }
  | { readonly kind: 'end'; readonly end: RunEnd };

/** Known before the first step. */
export interface RunFacts {
  readonly out: string;
  readonly device: string;
  readonly deviceReason: string | undefined;
  readonly threads: number;
  readonly dtype: 'f32' | 'bf16';
  readonly memory: MemoryEstimate;
  readonly activeParameters: number;
  readonly trainTokens: number;
  readonly validationTokens: number;
  readonly firstStep: number; // 0, or where a resumed run goes on
  readonly steps: number;
  readonly peakFlops: number; // measured on this device, FLOP/s
}

/** One line of metrics. */
export interface StepRecord {
  readonly step: number; // steps done
  readonly steps: number;
  readonly loss: number;
  readonly mtpLoss: number | undefined;
  readonly balanceLoss: number | undefined;
  readonly gradNorm: number;
  readonly lr: number;
  readonly tokens: number; // in all
  readonly tokensPerSecond: number;
  readonly mfu: number; // of the measured peak
  readonly seconds: number; // of this step
  /** Largest expert load over the mean, worst layer; 1 is even. */
  readonly imbalance: number | undefined;
}

export interface RunEnd {
  readonly step: number;
  readonly stopped: boolean; // by a signal, before the last step
  readonly checkpoint: string | undefined;
  readonly evaluation: Evaluation | undefined;
  readonly seconds: number;
  readonly losses: readonly (readonly [step: number, loss: number])[];
  /** Share of tokens of each expert over the last steps, per routed layer. */
  readonly loads: readonly (readonly [layer: number, shares: readonly number[]])[];
  readonly peakMemory: number; // bytes
}
