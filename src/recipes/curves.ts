import { existsSync, readFileSync } from 'node:fs';
import { metricsPath } from '../train/recorder.js';

/** One figure of a run over its steps, from the metrics in its folder; empty where there is none. */
export function readCurve(folder: string, name: string): [step: number, value: number][] {
  const path = metricsPath(folder);
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line): [number, number][] => {
      if (!line.includes(`"${name}"`) || !line.endsWith('}')) return [];
      const record = JSON.parse(line) as Readonly<Record<string, unknown>>;
      const value = record[name];
      return typeof record.step === 'number' && typeof value === 'number' ? [[record.step, value]] : [];
    });
}
