import { join } from 'node:path';
import { openMetrics } from './run/metrics.js';
import { openTensorBoard } from './run/tensorboard.js';

/** Figures of a run, by name and step. */
export interface Recorder {
  write(step: number, values: Readonly<Record<string, number>>): void;
  /** Forces what was written to the disk; called with each checkpoint. */
  sync(): void;
  close(): void;
}

/** Where a run's figures are: one JSON object a line, and TensorBoard events beside it. */
export const metricsPath = (out: string) => join(out, 'metrics.jsonl');

/** Goes on after `step` (0: a new run); lines of later steps, which will be made again, are removed. */
export function openRecorder(out: string, step: number, tensorboard: boolean): Recorder {
  const lines = openMetrics(metricsPath(out), step > 0 ? { afterStep: step } : undefined);
  const board = tensorboard ? openTensorBoard(join(out, 'tensorboard'), { purgeFrom: step + 1 }) : undefined;
  return {
    write(at, values) {
      lines.write({ step: at, ...values });
      board?.scalars(at, values);
    },
    sync() {
      lines.sync();
      board?.sync();
    },
    close() {
      lines.close();
      board?.close();
    },
  };
}
