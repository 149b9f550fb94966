import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCrew } from '../../src/parallel/index.js';
import { relativeError } from '../ops/harness.js';
import { type Steps, type Trained, train } from '../train/ranks/steps.js';
import { compileProgram, programFolder } from '../train/run/compile.js';
import { on, part, rehearsal } from './device.js';

/* Two processes on one GPU: what ranks on two of them do, but for the GPU of the second one. */

let folder: string;
let program: string;
beforeAll(() => {
  folder = programFolder('gpu-ranks');
  program = compileProgram('test/train/ranks/steps.program.ts', folder);
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const base = { steps: rehearsal ? 2 : 5, rows: 4, accumulate: 1, graphs: !rehearsal, on: on.kind } as const;
const cases: readonly Steps[] = [
  { ...base, model: 'experts', dtype: 'bf16' },
  { ...base, model: 'experts', dtype: 'f32' },
  { ...base, model: 'dense', dtype: 'bf16' },
  { ...base, model: 'dense', dtype: 'f32', accumulate: 2 },
];

describe('ranks that share a GPU', () => {
  it('train as one does, and hold the same parameters', async () => {
    const all = part(cases, 2);
    const said: Trained[][] = [];
    const crew = openCrew({
      program,
      size: 2,
      seconds: 300,
      onMessage: (rank, message) => {
        said[rank] = message as Trained[];
      },
    });
    for (const rank of [0, 1]) crew.start(rank, all);
    await crew.ended;
    for (const [i, steps] of all.entries()) {
      const one = train(steps);
      const [first, second] = said.map((found) => found[i]!) as [Trained, Trained];
      const bound = steps.dtype === 'f32' ? 1e-4 : 3e-2;
      const name = `${steps.model} ${steps.dtype}`;
      for (const [step, { loss, gradNorm }] of one.results.entries()) {
        expect(Math.abs(first.results[step]!.loss / loss - 1), `${name}, loss of step ${step}`).toBeLessThan(bound);
        expect(Math.abs(first.results[step]!.gradNorm / gradNorm - 1), `${name}, norm`).toBeLessThan(bound);
      }
      for (const [key, values] of Object.entries(one.gradients))
        expect(relativeError(first.gradients[key]!, values), `${name}, gradient of ${key}`).toBeLessThan(10 * bound);
      for (const [key, values] of Object.entries(one.parameters)) {
        expect(relativeError(first.parameters[key]!, values), `${name}, ${key}`).toBeLessThan(bound);
        expect(Buffer.compare(bytesOf(second.parameters[key]!), bytesOf(first.parameters[key]!)), key).toBe(0);
      }
    }
  }, 600_000);
});

const bytesOf = (v: Float32Array): Buffer => Buffer.from(v.buffer, v.byteOffset, v.byteLength);
