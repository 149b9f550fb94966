import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Communicator, closeRendezvous, openCrew, openRendezvous } from '../../src/parallel/index.js';
import { compileProgram, programFolder } from '../train/run/compile.js';
import type { Task } from './rank.program.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
let folder: string;
let program: string;

beforeAll(() => {
  folder = programFolder('ranks');
  program = compileProgram('test/parallel/rank.program.ts', folder);
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The library of a device whose tensors only its own functions can read. */
function compileRemote(): string {
  const out = join(folder, 'remote.so');
  const source = join(root, 'test', 'native', 'remote_backend.cc');
  execFileSync('g++', ['-std=gnu++20', '-shared', '-fPIC', '-fvisibility=hidden', '-o', out, source], {
    stdio: 'pipe',
  });
  return out;
}

interface Said {
  readonly found?: Record<string, number[]>;
  readonly heard?: { readonly code: string; readonly message: string };
  readonly stopped?: number;
  readonly waits?: number;
}

/** Runs a task on so many ranks; what each said, and what came of it. */
async function crewOf(
  size: number,
  act: Task['act'],
  {
    seconds = 30,
    slotBytes = 4096,
    heard = () => {},
    ...task
  }: { seconds?: number; slotBytes?: number; heard?: (said: Said[][]) => void; library?: string } = {},
) {
  const said: Said[][] = Array.from({ length: size }, () => []);
  const onMessage = (rank: number, message: unknown) => {
    said[rank]!.push(message as Said);
    heard(said);
  };
  const environment = () => ({ TRAIN_MOE_THREADS: '1' });
  const crew = openCrew({ program, size, seconds, slotBytes, onMessage, environment });
  for (let rank = 0; rank < size; rank++) crew.start(rank, { act, ...task } satisfies Task);
  const error = await crew.ended.then(
    () => undefined,
    (thrown) => thrown as Error & { code?: string },
  );
  return { said, error };
}

const brought = (rank: number, i: number) => [1e8, 1, -1e8, 1][rank]! * (1 + (i % 3));
const small = (rank: number, i: number) => (rank + 1) * ((i % 5) - 2);

/** Sums in the order of the ranks, with the roundings of the type. */
function reduced(
  size: number,
  i: number,
  value: typeof small,
  reduction: string,
  round: (x: number) => number,
): number {
  let sum = round(value(0, i));
  for (let r = 1; r < size; r++)
    sum = reduction === 'sum' ? round(sum + value(r, i)) : Math.max(sum, round(value(r, i)));
  return sum === 0 ? 0 : sum;
}

describe('collectives of ranks', () => {
  it.each([2, 3, 4])('are exact on %i ranks, summed in their order', async (size) => {
    const { said, error } = await crewOf(size, 'collectives');
    expect(error).toBeUndefined();
    const plain = (values: readonly number[]) => values.map((v) => (v === 0 ? 0 : v));
    for (let rank = 0; rank < size; rank++) {
      const { found } = said[rank]![0]!;
      for (const reduction of ['sum', 'max'])
        for (const dtype of ['f32', 'f64', 'bf16', 'i32']) {
          const value = dtype === 'f32' || dtype === 'f64' ? brought : small;
          const round = dtype === 'f32' ? Math.fround : (x: number) => x;
          const expected = (i: number) => reduced(size, i, value, reduction, round);
          expect(plain(found![`allReduce ${reduction} ${dtype}`]!), `rank ${rank}, allReduce ${dtype}`).toEqual(
            Array.from({ length: 9 }, (_, i) => expected(i)),
          );
          const owner = (i: number) =>
            Array.from({ length: size }, (_, r) => r).find((r) => i < Math.floor((11 * (r + 1)) / size));
          expect(plain(found![`reduceScatter ${reduction} ${dtype}`]!), `rank ${rank}, reduceScatter ${dtype}`).toEqual(
            Array.from({ length: 11 }, (_, i) => {
              const own = value(rank, i);
              return owner(i) === rank ? expected(i) : own === 0 ? 0 : round(own);
            }),
          );
        }
      for (const dtype of ['f32', 'bf16', 'i32', 'f64', 'u8'])
        expect(found![`allGather ${dtype}`], `rank ${rank}, allGather ${dtype}`).toEqual(
          Array.from({ length: size - 1 }, (_, r) => Array.from({ length: r + 1 }, (_, i) => 10 * r + i)).flat(),
        );
      expect(found!.broadcast).toEqual([100, 101, 102]);
      expect(found!.tied, 'bf16 is summed in f32 and rounded once').toEqual([[1, 1 + 2 ** -7, 1 + 2 ** -6][size - 2]]);
    }
  });

  it('go in rounds where tensors are larger than what is shared', async () => {
    const { said, error } = await crewOf(3, 'rounds', { slotBytes: 256 });
    expect(error).toBeUndefined();
    for (const [{ found }] of said as [Said][]) expect(found).toEqual({ gathered: [-1], reduced: [-1] });
  });

  it('reach memory that the host cannot touch, as that of GPUs, by its copies alone', async () => {
    const [here, away] = [await crewOf(3, 'collectives'), await crewOf(3, 'collectives', { library: compileRemote() })];
    expect(away.error).toBeUndefined();
    expect(away.said).toEqual(here.said);
  });

  it('end with both calls named when ranks bring different things', async () => {
    const { error } = await crewOf(2, 'differs');
    expect(error).toMatchObject({ code: 'internal' });
    expect(error!.message).toMatch(
      /rank \d came to "sum of the losses" with \d bytes, but rank \d to "sum of the losses" with \d; all ranks must/,
    );
  });
});

describe('a rank that is lost', () => {
  it('is named with what it was doing, when it was killed', async () => {
    const { said, error } = await crewOf(3, 'dies');
    expect(error).toMatchObject({ code: 'lost-rank' });
    expect(error!.message).toMatch(/^Rank 1 \(process \d+\) was ended by SIGKILL/);
    for (const rank of [0, 2]) {
      const { code, message } = said[rank]!.find((s) => s.heard)!.heard!;
      expect(code).toBe('lost-rank');
      expect(message).toMatch(
        /^Rank (1 \(process \d+, last at "forward and backward"\) has ended, while rank \d waited for it at "sum of the losses"|\d gave up: Rank 1 )/,
      );
    }
  });

  it('is named within the timeout, when it was stopped; it is ended, too', async () => {
    const { said, error } = await crewOf(3, 'stops', { seconds: 1 });
    expect(error).toMatchObject({ code: 'lost-rank' });
    expect(error!.message).toMatch(
      /Rank 1 \(process \d+, last at "forward and backward"\) has not come to "sum of the losses" within 1 s/,
    );
    const pid = said[1]![0]!.stopped!;
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
  });

  it('is not one that was stopped together with those that wait, by Ctrl-Z', async () => {
    const heard = (said: Said[][]) => {
      const all = said.flat().map(({ waits }) => waits!);
      if (all.length < 2) return;
      for (const pid of all) process.kill(pid, 'SIGSTOP');
      setTimeout(() => all.map((pid) => process.kill(pid, 'SIGCONT')), 3000);
    };
    expect((await crewOf(2, 'pauses', { seconds: 2, heard })).error).toBeUndefined();
  });

  it('tells its own error, with its number, and the others are ended by it', async () => {
    const { said, error } = await crewOf(2, 'fails');
    expect(error).toMatchObject({ code: 'bad-data', message: 'Rank 1: The text is not text.' });
    expect(said[0]![0]!.heard).toEqual({
      code: 'lost-rank',
      message: 'Rank 1 gave up: The text is not text.',
    });
  });
});

describe('what cannot be shared', () => {
  it('is refused in a sentence', () => {
    expect(() => openRendezvous(1)).toThrow(/^1 ranks were asked for; one machine has 2 to 64\.$/);
    expect(() => openRendezvous(4, 100)).toThrow(/^a slot of 100 bytes was asked for/);
    expect(() => new Communicator(0, 0, 1)).toThrow(/^the descriptor 0 is no memory that ranks/);
    const descriptor = openRendezvous(2);
    expect(() => new Communicator(descriptor, 2, 1)).toThrow(/^rank 2 of 2 cannot wait/);
    const alone = new Communicator(descriptor, 0, 0.2);
    closeRendezvous(descriptor);
    expect(() => alone.barrier('start')).toThrow(
      /^Rank 1 \(which never started\) has not come to "start" within 0\.2 s/,
    );
    expect(() => alone.barrier('again'), 'nothing fits together after that').toThrow(/^Rank 1 .* "start"/);
    alone.close();
    expect(() => alone.barrier('closed')).toThrow(/^this communicator was closed already/);
  });
});
