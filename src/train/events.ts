import type { MemoryEstimate } from './estimate.js';
import type { Evaluation } from './evaluate.js';

/** What happens in every run of fine-tuning or reinforcement, in the order it happens. Plain data. */
export type RunEvent<Facts, Record, Score, End> =
  | { readonly kind: 'note'; readonly sentence: string }
  | { readonly kind: 'start'; readonly run: Facts }
  | { readonly kind: 'step'; readonly record: Record }
  | { readonly kind: 'evaluation'; readonly at: number; readonly score: Score }
  | { readonly kind: 'saved'; readonly at: number; readonly path: string }
  | { readonly kind: 'end'; readonly end: End };

/** Where and how far a run goes: known before the first step. */
export interface CommonFacts {
  /** The run folder. */
  readonly out: string;
  /** Name of the device. */
  readonly device: string;
  /** Why it is this device, where that was not said. */
  readonly deviceReason: string | undefined;
  readonly threads: number;
  /** Arithmetic */
  readonly dtype: 'f32' | 'bf16';
  /** 0, or where a resumed run goes on. */
  readonly firstStep: number;
  /** Of the whole run. */
  readonly steps: number;
}

/** How a run ended, with its evaluation at the start and at the end. */
export interface CommonEnd<Score> {
  readonly step: number;
  /** By a signal, before the last step. */
  readonly stopped: boolean;
  /** Folder of the last checkpoint; undefined where none was written. */
  readonly checkpoint: string | undefined;
  /** Of this process. */
  readonly seconds: number;
  readonly before: Score | undefined;
  readonly after: Score | undefined;
}

/** What happens in pre-training, in the order it happens. Plain data, so that it crosses from a worker thread. */
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
export interface RunFacts extends CommonFacts {
  /** Processes that share each step. */
  readonly ranks: number;
  /** Of one of them. */
  readonly memory: MemoryEstimate;
  readonly activeParameters: number;
  readonly trainTokens: number;
  readonly validationTokens: number;
  /** Measured, of all ranks together, FLOP/s. */
  readonly peakFlops: number;
}

/** One line of metrics. */
export interface StepRecord {
  /** Steps done. */
  readonly step: number;
  /** Steps of the whole run. */
  readonly steps: number;
  /** Mean loss of next tokens, or of those that are hidden or predicted in any order, nats. */
  readonly loss: number;
  readonly mtpLoss: number | undefined;
  /** On how pairs of texts belong together, nats. */
  readonly relationLoss: number | undefined;
  /** Divergence from a teacher's probabilities, times the temperature squared, nats. */
  readonly softLoss: number | undefined;
  /** One less the cosine to a teacher's hidden states. */
  readonly cosineLoss: number | undefined;
  readonly balanceLoss: number | undefined;
  /** Before clipping. */
  readonly gradNorm: number;
  /** Learning rate */
  readonly lr: number;
  /** In all. */
  readonly tokens: number;
  readonly tokensPerSecond: number;
  /** Of the measured peak. */
  readonly mfu: number;
  /** Of this step. */
  readonly seconds: number;
  /** Largest expert load over the mean, worst layer; 1 is even. */
  readonly imbalance: number | undefined;
}

/** What a run came to. */
export interface RunEnd {
  readonly step: number;
  /** By a signal, before the last step. */
  readonly stopped: boolean;
  /** Folder of the last checkpoint; undefined where none was written. */
  readonly checkpoint: string | undefined;
  readonly evaluation: Evaluation | undefined;
  /** Of this process. */
  readonly seconds: number;
  /** By step, nats. */
  readonly losses: readonly (readonly [step: number, loss: number])[];
  /** Share of tokens of each expert over the last steps, per routed layer. */
  readonly loads: readonly (readonly [layer: number, shares: readonly number[]])[];
  /** Bytes; on several ranks those of the first one. */
  readonly peakMemory: number;
}
