import type { FolderSink } from '../../hub/byte_sink.js';
import type { Communicator } from '../../parallel/index.js';
import { type Saved, saveCheckpoint } from '../run/checkpoint.js';
import { isFirst } from './agree.js';

/** Takes what is written to it and keeps nothing. */
const NOWHERE: FolderSink = { file: (_, fill) => fill(() => {}) };

/**
 * As saveCheckpoint(), by all ranks: what is written is read of all of them, in the order of the writing, so all write, and only
 * the first one to the disk; undefined on the others.
 */
export function saveAsRank(
  ranks: Communicator | undefined,
  out: string,
  step: number,
  write: (folder: FolderSink) => void,
  keep: number,
): Saved | undefined {
  ranks?.enter('checkpoint');
  if (isFirst(ranks)) return saveCheckpoint(out, step, write, { keep });
  write(NOWHERE);
  return undefined;
}
