import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TrainMoeError } from '../../../src/errors.js';
import { openSafetensors } from '../../../src/hub/safetensors.js';
import type { SftEnd, SftEvent } from '../../../src/train/sft/events.js';
import { sft, sftOnRanks } from '../../../src/train/sft/run.js';
import { relativeError } from '../../ops/harness.js';
import { compileProgram, programFolder } from '../run/compile.js';
import { tinyData, tinyFolder, tinySft } from './tiny.js';

let folder: string;
let program: string;
let settings: { model: string; data: string[] };

beforeAll(async () => {
  folder = programFolder('sft-ranks', ['build', 'LICENSE', 'native']);
  program = compileProgram('src/train/ranks/rank.ts', folder);
  settings = { model: await tinyFolder(join(folder, 'model'), 'experts'), data: [tinyData(folder)] };
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Two epochs of seven rows, the last of which has a step for itself: fewer than there are ranks. */
const at = (name: string, ranks: number, more = {}) =>
  tinySft({ ...settings, ranks, threads: 1, length: 112, out: join(folder, name), ...more });

const tuned = (config: ReturnType<typeof at>, onEvent: (event: SftEvent) => unknown = () => {}): Promise<SftEnd> =>
  config.ranks === 1 ? sft(config, { onEvent }) : sftOnRanks(config, { onEvent }, program);

function tensorsOf({ out }: { readonly out: string }, name: string): Map<string, Float32Array> {
  const file = openSafetensors(join(out, 'checkpoints', 'latest', name));
  const read = [...file.tensors].map(([key, t]) => [key, new Float32Array(t.read().slice().buffer)] as const);
  file.close();
  return new Map(read);
}

describe('fine-tuning on several ranks', () => {
  it.each([
    ['of all weights', {}],
    ['of adapters', { lora: { rank: 2 } }],
  ])('is that of one: %s', async (what, more) => {
    const [one, two] = [at(`one ${what}`, 1, more), at(`two ${what}`, 2, more)];
    const expected = await tuned(one);
    const kinds: string[] = [];
    const found = await tuned(two, ({ kind }) => kinds.push(kind));
    expect(found.step).toBe(expected.step);
    expect(kinds.filter((kind) => kind === 'start' || kind === 'end')).toEqual(['start', 'end']);
    for (const [i, [step, loss]] of expected.losses.entries())
      expect(Math.abs(found.losses[i]![1] / loss - 1), `step ${step}`).toBeLessThan(1e-4);
    for (const score of ['before', 'after'] as const) {
      expect(found[score]).toMatchObject({ tokens: expected[score]!.tokens, examples: expected[score]!.examples });
      expect(Math.abs(found[score]!.loss / expected[score]!.loss - 1), score).toBeLessThan(1e-4);
    }
    for (const file of ['model.safetensors', 'trainer/sft.safetensors']) {
      const [mine, other] = [tensorsOf(two, file), tensorsOf(one, file)];
      expect([...mine.keys()]).toEqual([...other.keys()]);
      for (const [key, values] of other) expect(relativeError(mine.get(key)!, values), key).toBeLessThan(1e-3);
    }
  });

  it('goes on bit for bit', async () => {
    const files = ['model.safetensors', 'trainer/sft.safetensors', 'trainer/sft.json'];
    const sums = ({ out }: { readonly out: string }) =>
      files.map((file) => crc32(readFileSync(join(out, 'checkpoints', 'latest', file))));
    const more = { dtype: 'bf16', schedule: 'constant' };
    const [whole, cut] = [at('whole', 2, more), at('cut', 2, more)];
    const tokens: number[] = [];
    await tuned({ ...whole, steps: 6 }, (event) => event.kind === 'step' && tokens.push(event.record.tokens));
    expect(Math.min(...tokens), 'a step of one row').toBeLessThan(112);
    expect(Math.max(...tokens), 'and one of two').toBeGreaterThan(112);
    await tuned({ ...cut, steps: 2 });
    await tuned({ ...cut, steps: 6 });
    expect(sums(cut)).toEqual(sums(whole));
  });

  it('refuses rows that cannot be shared', async () => {
    const error = await sft(at('uneven', 3)).catch((thrown) => thrown as TrainMoeError);
    expect(error).toMatchObject({
      code: 'bad-config',
      message: 'rows = 2 cannot be shared evenly by 3 ranks; take 3, or another number of --ranks.',
    });
  });
});
