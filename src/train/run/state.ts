import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TrainMoeError } from '../../errors.js';
import { type FolderSink, writeText } from '../../hub/byte_sink.js';
import { fileDTypeOf } from '../../hub/dtype.js';
import { openSafetensors, writeSafetensors } from '../../hub/safetensors.js';
import type { AdamW } from '../../optim/adamw.js';
import { bytesOf, type Tensor } from '../../tensor/index.js';

/** What a run of fine-tuning or reinforcement needs, beside its model's folder, to go on with the same bits. */
export interface RunState {
  /** Names the kind of run in the checkpoint: `trainer/NAME.json` and `.safetensors`. */
  readonly name: string;
  /** What people call it, in sentences. */
  readonly title: string;
  readonly optimizer: AdamW;
  /** What the optimizer does not keep, by name: weights in the type they are trained in, sums, counts. */
  readonly tensors: Iterable<readonly [name: string, tensor: Tensor]>;
}

/** The place a run has reached, as JSON. */
export interface Place {
  readonly step: number;
}

const placeFile = (name: string) => `trainer/${name}.json`;
const tensorFile = (name: string) => `trainer/${name}.safetensors`;

/** Writes the state into a checkpoint's folder. */
export function writeRunState(folder: FolderSink, { name, optimizer, tensors }: RunState, place: Place): void {
  writeText(folder, placeFile(name), JSON.stringify({ ...place, updates: optimizer.steps }, null, 2));
  const all = new Map([...tensors, ...optimizer.state()]);
  const specs = [...all].map(([key, { shape, dtype }]) => ({ name: key, shape, dtype: fileDTypeOf(dtype) }));
  folder.file(tensorFile(name), (sink) => writeSafetensors(sink, specs, (spec) => all.get(spec.name)!.readBytes()));
}

/**
 * Reads the state from a checkpoint into the tensors and the optimizer.
 * @param check throws when the run at that place is not this one
 * @throws TrainMoeError `bad-data` when it is of another kind, model, type or setting
 */
export function readRunState<P extends Place>(state: RunState, path: string, check: (place: P) => void = () => {}): P {
  const { name, title, optimizer, tensors } = state;
  if (!existsSync(join(path, placeFile(name))))
    throw new TrainMoeError(
      'bad-data',
      `${path} is no checkpoint of ${title}; give --out another folder, and this one as --model to start from it.`,
    );
  const { updates, ...place } = JSON.parse(readFileSync(join(path, placeFile(name)), 'utf8'));
  check(place as P);
  const file = openSafetensors(join(path, tensorFile(name)));
  const read = (key: string, into: Tensor): boolean => {
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
  return place as P;
}
