/** One completion to be judged. */
export interface Sample {
  /** What the model was given. */
  readonly prompt: string;
  /** What it wrote. */
  readonly completion: string;
  /** The reference answer, where the task has one. */
  readonly answer?: string;
  /** What else the task knows: tests of a code problem, numbers of a countdown puzzle, `tokens` of the completion. */
  readonly meta?: Readonly<Record<string, unknown>>;
}

/**
 * A judgement: a value, or that there is none. A skipped sample takes no part in its group's mean; it is not a wrong
 * answer, since the fault lies with the data or the grader.
 */
export type RewardResult =
  | { readonly value: number; readonly log?: Readonly<Record<string, unknown>> }
  | { readonly skip: true; readonly reason: string };

/** A rule that judges one sample at a time. It must depend on nothing but the sample. */
export interface Reward {
  /** Its name in metrics and logs. */
  readonly name: string;
  /** The judgement of one sample. */
  score(sample: Sample): RewardResult | Promise<RewardResult>;
  /** Why this problem cannot be graded (an unreadable reference, no tests), or undefined. Called once, at load. */
  check?(problem: Omit<Sample, 'completion'>): string | undefined;
  /** Called once before the first sample. @throws TrainMoeError where what the reward needs is missing */
  prepare?(): void | Promise<void>;
}

/**
 * A reward that needs a batch and the trainer's own process, such as a reward model on the device. It is not sent to a
 * grader: the trainer calls it beside the pool and joins the results by position.
 */
export interface BatchReward {
  readonly name: string;
  scoreAll(samples: readonly Sample[], options: BatchOptions): Promise<readonly RewardResult[]>;
}

/** What a reward of whole batches is told of them. */
export interface BatchOptions {
  /** These samples are trained on: what the reward keeps of all it has seen takes them in. */
  readonly observe: boolean;
}

/** A reward by name, as graders in other processes can build it: a built-in one or a module of the user's. */
export interface RewardSpec {
  /** A built-in name, or the path of a JavaScript module (with a slash or an ending). */
  readonly name: string;
  /** Given to the built-in reward, or to the module's function beside each sample. */
  readonly options?: Readonly<Record<string, unknown>>;
}

export const skip = (reason: string): RewardResult => ({ skip: true, reason });
export const value = (amount: number, log?: Readonly<Record<string, unknown>>): RewardResult =>
  log ? { value: amount, log } : { value: amount };
/** True when a judgement is that there is none. */
export const isSkipped = (result: RewardResult): result is Extract<RewardResult, { skip: true }> => 'skip' in result;
