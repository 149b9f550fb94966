import { createHash } from 'node:crypto';
import path from 'node:path';
import { TrainMoeError } from '../../errors.js';
import type { SplitName } from '../types.js';
import { type Manifest, type ShardInfo, writeWhole } from './format.js';

export const SPLITS: readonly SplitName[] = ['train', 'validation', 'test'];

type Ids = Uint16Array | Uint32Array;

/** The documents of one split that are not yet on disk. */
export interface Draft {
  /** Returns the number of ids added, 0 for a text without tokens. */
  add(ids: Uint32Array, bytes: number, manifest: Manifest): number;
  /** Hands over the content, or undefined when there is none, and starts anew. */
  take(): { ids: Ids; starts: Uint32Array; bytes: number } | undefined;
}

export function newDrafts(bytesPerId: 2 | 4): Record<SplitName, Draft> {
  return { train: newDraft(bytesPerId), validation: newDraft(bytesPerId), test: newDraft(bytesPerId) };
}

const FIRST_CAPACITY = 1 << 16;

function newDraft(bytesPerId: 2 | 4): Draft {
  const allocate = (size: number): Ids => (bytesPerId === 2 ? new Uint16Array(size) : new Uint32Array(size));
  let ids = allocate(FIRST_CAPACITY);
  let used = 0;
  let bytes = 0;
  let starts: number[] = [0];
  return {
    add(added, size, { vocabSize, bosId, eosId }) {
      if (added.length === 0) return 0;
      const before = used;
      const need = used + added.length + 2;
      if (need > ids.length) {
        const larger = allocate(Math.max(need, 2 * ids.length));
        larger.set(ids.subarray(0, used));
        ids = larger;
      }
      if (bosId !== null) ids[used++] = bosId;
      for (let i = 0; i < added.length; i++) {
        const id = added[i]!;
        if (id >= vocabSize) throw idOutOfRange(id, vocabSize);
        ids[used++] = id;
      }
      if (eosId !== null) ids[used++] = eosId;
      starts.push(used);
      bytes += size;
      return used - before;
    },
    take() {
      if (used === 0) return undefined;
      const content = { ids: ids.slice(0, used), starts: Uint32Array.from(starts), bytes };
      used = 0;
      bytes = 0;
      starts = [0];
      return content;
    },
  };
}

function idOutOfRange(id: number, vocabSize: number): TrainMoeError {
  return new TrainMoeError(
    'bad-argument',
    `The tokenizer gave the id ${id}, but says its vocabulary has ${vocabSize}.`,
  );
}

/** Writes each draft as the next shard of its split; returns the splits with the new shards added. */
export function writeDrafts(
  folder: string,
  splits: Manifest['splits'],
  drafts: Readonly<Record<SplitName, Draft>>,
): Manifest['splits'] {
  const next = { ...splits };
  for (const split of SPLITS) {
    const content = drafts[split].take();
    if (content === undefined) continue;
    const name = `${split}-${String(splits[split].length).padStart(5, '0')}`;
    const { starts, bytes } = content;
    const raw = new Uint8Array(content.ids.buffer, content.ids.byteOffset, content.ids.byteLength);
    writeWhole(path.join(folder, `${name}.ids`), raw);
    writeWhole(path.join(folder, `${name}.docs`), new Uint8Array(starts.buffer));
    const sha256 = createHash('sha256').update(raw).digest('hex');
    const info: ShardInfo = { name, documents: starts.length - 1, tokens: content.ids.length, bytes, sha256 };
    next[split] = [...splits[split], info];
  }
  return next;
}
