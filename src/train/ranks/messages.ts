import type { RunConfig } from '../../config/index.js';
import type { RunEnd, TrainEvent } from '../events.js';
import type { Checkpoint } from '../run/checkpoint.js';
import type { SftConfig } from '../sft/config.js';
import type { SftEnd, SftEvent } from '../sft/events.js';

/** The runs that several ranks can share: what each is given, tells and comes to. */
export interface RankRuns {
  readonly pretrain: { readonly config: RunConfig; readonly event: TrainEvent; readonly end: RunEnd };
  readonly sft: { readonly config: SftConfig; readonly event: SftEvent; readonly end: SftEnd };
}

export type RankRun = keyof RankRuns;

/** What a rank is to do. */
export interface RankTask<K extends RankRun = RankRun> {
  readonly run: K;
  readonly config: RankRuns[K]['config'];
  /** Where the first rank goes on from; undefined: from the start, and not known to the first one. */
  readonly checkpoint?: Checkpoint | undefined;
}

/** What a rank is told meanwhile. */
export interface ToRank {
  readonly stop: true;
}

/** What the first rank tells: that the others can begin, from which checkpoint, and what happens. */
export type FromRank = { readonly prepared: Checkpoint | undefined } | { readonly event: RankRuns[RankRun]['event'] };
