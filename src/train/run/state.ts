import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TrainMoeError } from '../../errors.js';
import { type FolderSink, writeText } from '../../hub/byte_sink.js';
import { fileDTypeOf } from '../../hub/dtype.js';
import { openSafetensors, writeSafetensors } from '../../hub/safetensors.js';
import type { AdamW } from '../../optim/adamw.js';
import type { Held } from '../../parallel/index.js';
import { bytesOf } from '../../tensor/index.js';
import { type Beginning, type RunKind, refuseOthers } from './policy.js';

/** What a run of fine-tuning or reinforcement needs, beside its model's folder, to go on with the same bits. */
export interface RunState {
  /** Names the kind of run in the checkpoint: `trainer/NAME.json` and `.safetensors`. */
  readonly name: RunKind;
  /** What people call it, in sentences. */
  readonly title: string;
  readonly optimizer: AdamW;
  /** The run folder, and what the run was begun with: it goes on with nothing else. */
  readonly out: string;
  readonly beginning: Beginning;
  /** What the optimizer does not keep, by name: weights in the type they are trained in, sums, counts. */
  readonly tensors: Iterable<readonly [name: string, tensor: Held]>;
}

/** The place a run has reached, as JSON. */
export interface Place {
  readonly step: number;
}

const placeFile = (name: string) => `trainer/${name}.json`;
const tensorFile = (name: string) => `trainer/${name}.safetensors`;

/** Writes the state into a checkpoint's folder. */
export function writeRunState(folder: FolderSink, state: RunState, place: Place): void {
  const { name, optimizer, tensors, beginning } = state;
  writeText(folder, placeFile(name), JSON.stringify({ ...place, updates: optimizer.steps, ...beginning }, null, 2));
  const all = new Map([...tensors, ...optimizer.state()]);
  const specs = [...all].map(([key, { shape, dtype }]) => ({ name: key, shape, dtype: fileDTypeOf(dtype) }));
  folder.file(tensorFile(name), (sink) => writeSafetensors(sink, specs, (spec) => all.get(spec.name)!.readBytes()));
}

/**
 * The place that a checkpoint holds.
 * @throws TrainMoeError `bad-data` when it is of another kind of run
 */
export function readPlace<P>({ name, title }: Pick<RunState, 'name' | 'title'>, path: string): P {
  const file = join(path, placeFile(name));
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as P;
  throw new TrainMoeError(
    'bad-data',
    `${path} is no checkpoint of ${title}; give --out another folder, and this one as --model to start from it.`,
  );
}

/**
 * Reads the state from a checkpoint into the tensors and the optimizer.
 * @throws TrainMoeError `bad-data` when it is of another kind, model or type, `bad-config` when it is of other settings
 */
export function readRunState<P extends Place>(state: RunState, path: string): P {
  const { name, out, optimizer, tensors, beginning } = state;
  const {
    updates,
    settings: _,
    content,
    ...place
  } = readPlace<P & Beginning & { readonly updates: number }>(state, path);
  refuseOthers(out, name, { content }, { content: beginning.content });
  const file = openSafetensors(join(path, tensorFile(name)));
  const read = (key: string, into: Held): boolean => {
    const stored = file.tensors.get(key);
    if (stored?.byteLength !== into.size * bytesOf(into.dtype)) return false;
    into.writeBytes(stored.read());
    return true;
  };
  try {
    for (const [key, tensor] of tensors)
      if (!read(key, tensor))
        throw new TrainMoeError(
          'bad-data',
          `${path} lacks ${key} in the size and type of this run; go on with the settings it was started with, or use another --out.`,
        );
    optimizer.restore(updates, read);
  } finally {
    file.close();
  }
  return place as unknown as P;
}
