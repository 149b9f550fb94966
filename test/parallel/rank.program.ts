import { TrainMoeError } from '../../src/errors.js';
import { addon } from '../../src/native.js';
import { type Communicator, takeSeat } from '../../src/parallel/index.js';
import { type DType, device, empty, from, type Tensor } from '../../src/tensor/index.js';
import { window } from '../../src/tensor/tensor.js';

/** What a rank of these tests does, as a process of its own. */
export interface Task {
  /** Library of the device whose tensors take part; default: the CPU's. */
  readonly library?: string;
  readonly act: 'collectives' | 'dies' | 'pauses' | 'stops' | 'fails' | 'differs' | 'rounds';
}

let on = device('cpu');

/** What rank r brings, such that sums in another order would be others. */
const brought = (rank: number, i: number): number => [1e8, 1, -1e8, 1][rank]! * (1 + (i % 3));

/** Sums of these that were rounded at each rank would be smaller: ties go to even. */
const ties = (rank: number): number => [1, 2 ** -8, 2 ** -8, 3 * 2 ** -9][rank]!;

/** The same in small whole numbers, for types that hold no more. */
const small = (rank: number, i: number): number => (rank + 1) * ((i % 5) - 2);

function made(dtype: DType, count: number, value: (i: number) => number): Tensor {
  const values = Array.from({ length: count }, (_, i) => value(i));
  if (dtype === 'i32') return from(Int32Array.from(values), [count], { device: on });
  if (dtype === 'f64') return from(Float64Array.from(values), [count], { device: on });
  if (dtype === 'u8') return from(Uint8Array.from(values), [count], { device: on });
  if (dtype === 'f32') return from(Float32Array.from(values), [count], { device: on });
  const halves = from(Float32Array.from(values), [count], { dtype, device: device('cpu') }).readBytes(); // ops of the CPU round
  return empty([count], { dtype, device: on }).writeBytes(halves);
}

function valuesOf(t: Tensor): number[] {
  if (t.dtype === 'i32') return [...t.readInts()];
  if (t.dtype === 'f64') return [...t.readDoubles()];
  if (t.dtype === 'u8') return [...t.readBytes()];
  if (t.dtype === 'f32') return [...t.read()];
  return [
    ...empty(t.shape, { dtype: t.dtype, device: device('cpu') })
      .writeBytes(t.readBytes())
      .read(),
  ];
}

/** Every collective on values that tell the rank; all that comes of them, by name. */
function collectives(c: Communicator): Record<string, number[]> {
  const found: Record<string, number[]> = {};
  for (const reduction of ['sum', 'max'] as const) {
    for (const dtype of ['f32', 'f64', 'bf16', 'i32'] as const) {
      const value = dtype === 'f32' || dtype === 'f64' ? brought : small;
      const [a, b] = [made(dtype, 7, (i) => value(c.rank, i)), made(dtype, 2, (i) => value(c.rank, i + 7))];
      c.allReduce([a, b], reduction, 'test');
      found[`allReduce ${reduction} ${dtype}`] = [...valuesOf(a), ...valuesOf(b)];
      const whole = made(dtype, 11, (i) => value(c.rank, i));
      const cut = Array.from({ length: c.size }, (_, owner) => {
        const [start, end] = [Math.floor((11 * owner) / c.size), Math.floor((11 * (owner + 1)) / c.size)];
        return { owner, tensor: window(whole, start, [end - start], [1]) };
      });
      c.reduceScatter(cut, reduction, 'test');
      found[`reduceScatter ${reduction} ${dtype}`] = valuesOf(whole);
    }
  }
  for (const dtype of ['f32', 'bf16', 'i32', 'f64', 'u8'] as const) {
    // Rank r gives r + 1 values, the last rank none.
    const pieces = Array.from({ length: c.size - 1 }, (_, owner) => ({
      owner,
      tensor: made(dtype, owner + 1, (i) => (owner === c.rank ? 10 * owner + i : 99)),
    }));
    c.allGather(pieces, 'test');
    found[`allGather ${dtype}`] = pieces.flatMap(({ tensor }) => valuesOf(tensor));
  }
  const tied = made('bf16', 1, () => ties(c.rank));
  c.allReduce([tied], 'sum', 'test');
  found.tied = valuesOf(tied);
  const told = made('i32', 3, (i) => 100 * c.rank + i);
  c.broadcast([told], 1, 'test');
  found.broadcast = valuesOf(told);
  c.allReduce([], 'sum', 'nothing');
  c.barrier('test');
  return found;
}

/** Tensors of more than a slot, so that they go in several rounds. */
function rounds(c: Communicator): Record<string, number[]> {
  const COUNT = 1501;
  const big = made('f32', COUNT, (i) => c.rank + (i % 1000));
  const half = Math.floor(COUNT / 3);
  const cut = [
    { owner: 0, tensor: window(big, 0, [half], [1]) },
    { owner: 1, tensor: window(big, half, [COUNT - half], [1]) },
  ];
  c.reduceScatter(cut, 'sum', 'large sum');
  c.allGather(cut, 'large gather');
  const all = valuesOf(big);
  const expected = (i: number) => (c.size * (c.size - 1)) / 2 + c.size * (i % 1000);
  const everywhere = made('f32', COUNT, (i) => c.rank + (i % 1000));
  c.allReduce([everywhere], 'sum', 'large sum');
  const read = valuesOf(everywhere);
  return {
    gathered: [all.findIndex((v, i) => v !== expected(i))],
    reduced: [read.findIndex((v, i) => v !== expected(i))],
  };
}

await takeSeat<Task>(async ({ act, library }, { communicator: c, send }) => {
  if (library) on = { ...addon.openLibrary(library), kind: 'cuda', fastBf16: false };
  if (act === 'collectives') return send({ found: collectives(c) });
  if (act === 'rounds') return send({ found: rounds(c) });
  c.barrier('beginning', 60); // processes start as they can
  c.enter('forward and backward');
  if (act === 'pauses') {
    send({ waits: process.pid });
    await new Promise((resolve) => setTimeout(resolve, 800 * c.rank)); // the first one waits meanwhile
  }
  if (act === 'dies' && c.rank === 1) process.kill(process.pid, 'SIGKILL');
  if (act === 'stops' && c.rank === 1) {
    send({ stopped: process.pid });
    process.kill(process.pid, 'SIGSTOP');
  }
  if (act === 'fails' && c.rank === 1) throw new TrainMoeError('bad-data', 'The text is not text.');
  try {
    c.allReduce([empty([act === 'differs' ? 1 + c.rank : 1], { device: on })], 'sum', 'sum of the losses');
  } catch (error) {
    const { code, message } = error as TrainMoeError;
    send({ heard: { code, message } });
    throw error;
  }
});
