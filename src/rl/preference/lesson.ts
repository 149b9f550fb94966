import type { LoadedModel, LoadOptions } from '../../models/folder.js';
import type { Device, Tensor } from '../../tensor/index.js';
import type { ChatTemplate } from '../../tokenizer/index.js';
import type { Pass } from '../pass.js';
import type { PreferenceConfig } from './config.js';
import type { PreferenceScore } from './figures.js';
import type { Text } from './pack.js';

/** Examples in ids, and what was left out. */
export interface Examples<E> {
  readonly train: readonly E[];
  readonly test: readonly E[];
  readonly ties: number;
  readonly same: number;
  readonly tooLong: number;
}

/** Sums over the examples of a part of an update, by the name of the metric. */
export type Sums = Readonly<Record<string, number>>;

/** Told how many of how many texts are done; waiting for it lets signals and timers be heard. */
export type Progress = (done: number, total: number) => Promise<void>;

/** A loss on preferences, ready to be trained: the loop in run.ts does not know which. */
export interface Lesson<E> {
  /** Forward and backward pass of a part of an update of `total` examples; nothing of it waits for the device. */
  learn(part: readonly E[], total: number): Pass<Sums>;
  /** The figures on examples that were not trained on. */
  evaluate(examples: readonly E[], progress: Progress): Promise<PreferenceScore>;
  /** Before the first step of a new run; a resumed one has `tensors` back instead. */
  prepare?(progress: Progress): Promise<void>;
  readonly tensors?: readonly (readonly [name: string, tensor: Tensor])[];
  dispose?(): void;
}

/** What a lesson works with. */
export interface LessonContext<E, C> {
  readonly model: LoadedModel;
  readonly examples: Examples<E>;
  readonly device: Device;
  readonly config: C;
}

/** One way to learn from preferences, from the files to the loss. */
export interface Subject<E, C extends PreferenceConfig = PreferenceConfig> {
  /** In file names. */
  readonly name: 'reward_model' | 'dpo';
  /** In sentences. */
  readonly title: string;
  readonly unit: string;
  load(path: string, options: LoadOptions): LoadedModel;
  read(config: C, template: ChatTemplate): Promise<Examples<E>>;
  textsOf(example: E): readonly Text[];
  begin(context: LessonContext<E, C>): Lesson<E>;
}

/** The examples whose texts all fit; of those to train on, the first `maxPairs`. */
export function fitting<R, E>(
  found: { readonly train: readonly R[]; readonly test: readonly R[]; readonly ties: number; readonly same: number },
  encode: (raw: R) => E,
  textsOf: (example: E) => readonly Text[],
  { maxLength, maxPairs = Number.POSITIVE_INFINITY }: Pick<PreferenceConfig, 'maxLength' | 'maxPairs'>,
): Examples<E> {
  const fits = (example: E) => textsOf(example).every(({ ids }) => ids.length <= maxLength);
  const [train, test] = [found.train.map(encode), found.test.map(encode)];
  const [kept, tested] = [train.filter(fits), test.filter(fits)];
  const { ties, same } = found;
  const tooLong = train.length + test.length - kept.length - tested.length;
  return { train: kept.slice(0, maxPairs), test: tested, ties, same, tooLong };
}
