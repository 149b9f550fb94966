import type { RunConfig } from '../../config/index.js';
import type { TrainEvent } from '../events.js';
import type { Checkpoint } from '../run/checkpoint.js';

/** What a rank is to do. */
export interface RankTask {
  readonly config: RunConfig;
  /** Where the first rank goes on from; undefined: from the start, and not known to the first one. */
  readonly checkpoint?: Checkpoint | undefined;
}

/** What a rank is told meanwhile. */
export interface ToRank {
  readonly stop: true;
}

/** What the first rank tells: that the others can begin, from which checkpoint, and what happens. */
export type FromRank = { readonly prepared: Checkpoint | undefined } | { readonly event: TrainEvent };
