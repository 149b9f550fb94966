import { rmSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCrew } from '../../../src/parallel/index.js';
import { relativeError } from '../../ops/harness.js';
import { compileProgram, programFolder } from '../run/compile.js';
import { type Steps, type Trained, train } from './steps.js';

const BASE = { steps: 4, rows: 8, accumulate: 1, graphs: true } as const;
const EXPERTS: Steps = { ...BASE, model: 'experts', dtype: 'f32' };
const BYTES: Steps = { ...BASE, model: 'dense', dtype: 'f32', optimizer: { moments: 'u8' } };
const CASES: readonly (readonly [string, Steps])[] = [
  ['dense, f32', { ...BASE, model: 'dense', dtype: 'f32' }],
  ['experts with the token after the next, f32', EXPERTS],
  ['two micro-batches, unevenly shared', { ...EXPERTS, rows: 11, accumulate: 2, graphs: false }],
  ['fewer rows than ranks', { ...EXPERTS, rows: 3 }],
  ['dense, bf16 with masters', { ...BASE, model: 'dense', dtype: 'bf16' }],
  ['experts, bf16 with masters, moments in bf16', { ...EXPERTS, dtype: 'bf16', optimizer: { moments: 'bf16' } }],
];
const ALL = [...CASES.map(([, steps]) => steps), BYTES, EXPERTS];

let folder: string;
let program: string;
/** By number of ranks, what each rank found of all cases: processes take longer to start than to train so little. */
const found = new Map<number, Trained[][]>();

beforeAll(async () => {
  folder = programFolder('steps');
  program = compileProgram('test/train/ranks/steps.program.ts', folder);
  for (const size of [2, 4]) found.set(size, await onRanks(size, ALL));
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function onRanks(size: number, all: readonly Steps[]): Promise<Trained[][]> {
  const said: Trained[][] = [];
  const crew = openCrew({
    program,
    size,
    seconds: 60,
    environment: () => ({ TRAIN_MOE_THREADS: '1' }),
    onMessage: (rank, message) => {
      said[rank] = message as Trained[];
    },
  });
  for (let rank = 0; rank < size; rank++) crew.start(rank, all);
  await crew.ended;
  return said;
}

/** What each rank of so many found of a case. */
const ofCase = (size: number, steps: Steps) => found.get(size)!.map((cases) => cases[ALL.indexOf(steps)]!);

/** Of the bits of each, so that a difference is told in a line. */
const checksums = (values: Readonly<Record<string, Float32Array>>) =>
  Object.entries(values).map(([name, v]) => `${name} ${crc32(Buffer.from(v.buffer, v.byteOffset, v.byteLength))}`);

describe('training on several ranks', () => {
  it.each(CASES)('equals that of one: %s', (_, steps) => {
    const one = train(steps);
    const bound = steps.dtype === 'f32' ? 2e-5 : 2e-2;
    if (steps.model === 'experts') for (const { balanceLoss } of one.results) expect(balanceLoss).toBeGreaterThan(0);
    for (const size of [2, 4]) {
      const all = ofCase(size, steps);
      const [several] = all as [Trained];
      for (const [i, expected] of one.results.entries()) {
        const figures = several.results[i]!;
        for (const figure of ['loss', 'mtpLoss', 'balanceLoss', 'gradNorm'] as const)
          if (expected[figure] === undefined) expect(figures[figure]).toBeUndefined();
          else {
            const difference = Math.abs(figures[figure]! - expected[figure]);
            expect(difference, `${figure} of step ${i}`).toBeLessThanOrEqual((bound / 4) * expected[figure]);
          }
        expect(figures.trainedTokens).toBe(expected.trainedTokens);
      }
      if (steps.dtype === 'f32') expect(several.loads).toEqual(one.loads);
      for (const [name, gradient] of Object.entries(one.gradients))
        expect(relativeError(several.gradients[name]!, gradient), `gradient of ${name}`).toBeLessThan(5 * bound);
      for (const [name, values] of Object.entries(one.parameters))
        expect(relativeError(several.parameters[name]!, values), name).toBeLessThan(bound);
      expect(Object.keys(several.state)).toEqual(Object.keys(one.state));
      for (const [name, value] of Object.entries(one.state))
        expect(several.state[name]!.length, name).toBe(value.length);
      // All ranks hold the same parameters, to the bit, and have seen the same figures.
      for (const other of all.slice(1)) {
        expect(other.results).toEqual(several.results);
        expect(checksums(other.parameters)).toEqual(checksums(several.parameters));
      }
    }
  });

  it('has the same bits every time', () => {
    const again = found.get(4)!.map((cases) => cases.at(-1)!); // the same steps as those of a case
    const [first] = ofCase(4, EXPERTS);
    for (const rank of again) {
      expect(checksums(rank.parameters)).toEqual(checksums(first!.parameters));
      expect(rank.results).toEqual(first!.results);
    }
  });

  it('keeps moments in 8 bits in blocks that no two ranks share', () => {
    const one = train(BYTES);
    const [several] = ofCase(2, BYTES) as [Trained];
    expect(several.results[0]!.loss).toBeCloseTo(one.results[0]!.loss, 6);
    for (const [name, value] of Object.entries(one.state)) {
      expect(several.state[name]!.length, name).toBe(value.length);
      if (!name.startsWith('m_scale.')) continue; // the largest of each block is exact in any rounding
      const [a, b] = [several.state[name]!, value].map((v) => new Float32Array(v.slice().buffer));
      expect(relativeError(a!, b!), name).toBeLessThan(0.1);
    }
  });
});
