import { rope } from '../../src/ops/rope.js';
import { from, split, type Tensor } from '../../src/tensor/index.js';
import { type OpCase, randomValues, type Values } from './harness.js';
import { inner } from './reference.js';

/** x [R,H,size+3], whose first `size` channels of each head turn and whose others stay. */
function ropeCase(name: string, size: number, interleaved: boolean): OpCase {
  const [rows, heads, rest, length] = [5, 3, 3, 7];
  const table = new Float32Array(length * size);
  randomValues([length, size / 2], 77, 2).forEach((angle, i) => {
    const at = Math.floor(i / (size / 2)) * size + (i % (size / 2));
    table[at] = Math.cos(angle);
    table[at + size / 2] = Math.sin(angle);
  });
  const positions = Int32Array.of(0, 6, 2, 2, 5);
  return {
    name: `rope: ${name}`,
    inputs: {
      x: { shape: [rows, heads, size + rest] },
      table: { shape: [length, size], data: Float64Array.from(table), f32: true, grad: false },
      positions: { shape: [rows], ints: positions },
    },
    run: ({ x, table, positions }) => {
      const y = inner(x!);
      rope((split(y, [size, rest]) as [Tensor, Tensor])[0], table!, positions!, { interleaved });
      return inner(y);
    },
    reference: ({ x, table, positions }) => {
      const data = x!.data.slice();
      for (let i = 0; i < rows * heads; i++)
        for (let pair = 0; pair < size / 2; pair++) {
          const [first, second] = interleaved ? [2 * pair, 2 * pair + 1] : [pair, pair + size / 2];
          const at = i * (size + rest);
          const turn = positions!.data[Math.floor(i / heads)]! * size + pair;
          const [cos, sin] = [table!.data[turn]!, table!.data[turn + size / 2]!];
          const [a, b] = [x!.data[at + first]!, x!.data[at + second]!];
          data[at + first] = a * cos - b * sin;
          data[at + second] = b * cos + a * sin;
        }
      return { shape: x!.shape, data } satisfies Values;
    },
  };
}

const floats = (...shape: number[]) => from(new Float32Array(shape.reduce((a, b) => a * b)), shape);

export const cases: OpCase[] = [
  ropeCase('interleaved pairs', 16, true),
  ropeCase('interleaved pairs, a partial vector', 22, true),
  ropeCase('halves', 32, false),
  {
    ...ropeCase('halves, a partial vector', 22, false),
    bad: [
      {
        what: 'a position beyond the table',
        call: () => rope(floats(1, 1, 4), floats(3, 4), from(Int32Array.of(3), [1]), { interleaved: true }),
        says: /position lies outside the table/,
      },
      {
        what: 'an odd number of channels',
        call: () => rope(floats(1, 1, 5), floats(3, 5), from(Int32Array.of(0), [1]), { interleaved: true }),
        says: /odd number of channels/,
      },
    ],
  },
];
