import { addon } from '../../src/native.js';
import { type DeviceKind, device } from '../../src/tensor/index.js';

/** The device under test: a GPU, or the emulator in a rehearsal (test/gpu/run.mjs says which). */
export const on = device((process.env.TRAIN_MOE_GPU_DEVICE ?? 'cuda') as DeviceKind);

/** The emulator runs the same files at a part of the cases, so that the tier itself is tested without a GPU. */
export const rehearsal = on.kind === 'emulator';

/** One of `every` in a rehearsal, else all. */
export const part = <T>(all: readonly T[], every: number): readonly T[] =>
  rehearsal ? all.filter((_, i) => i % every === 0) : all;

/** Under a sanitizer each kernel runs once: what it computes was checked before. */
export const sanitized = process.env.TRAIN_MOE_GPU_SANITIZED === '1';

/** Memory that was freed comes back as it was on a GPU, as NaN on the emulator. */
export const trim = (): void => addon.trimMemory(on.index);
