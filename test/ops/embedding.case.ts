import { embedding } from '../../src/ops/embedding.js';
import { from, zeros } from '../../src/tensor/index.js';
import type { OpCase } from './harness.js';
import { valuesOf } from './reference.js';

/** One row often, neighbours, first and last rows, most rows never. */
const IDS = Int32Array.of(7, 0, 7, 7, 36, 3, 7, 2, 36, 0, 7);

function embeddingCase(name: string, ids: Int32Array, rows: number, width: number, scale: number): OpCase {
  return {
    name,
    inputs: { table: { shape: [rows, width] }, ids: { shape: [ids.length], ints: ids } },
    run: ({ table, ids }) => embedding(table!, ids!, scale),
    reference: ({ table, ids }) =>
      valuesOf(
        [ids!.data.length, width],
        (i) => scale * table!.data[ids!.data[Math.floor(i / width)]! * width + (i % width)]!,
      ),
  };
}

const bad = (id: number) => () => embedding(zeros([4, 2]), from(Int32Array.of(0, id)));

export const cases: OpCase[] = [
  {
    ...embeddingCase('embedding', IDS, 37, 19, 1),
    bad: [
      {
        what: 'an id beyond the table',
        call: bad(4),
        says: /embedding_forward: ids\[1\] is 4; the table has rows 0 to 3/,
      },
      { what: 'a negative id', call: bad(-1), says: /ids\[1\] is -1/ },
    ],
  },
  embeddingCase('embedding: scaled', IDS, 40, 8, 2.5),
  embeddingCase(
    'embedding: wide rows, many tokens',
    Int32Array.from({ length: 300 }, (_, i) => (i * i) % 5),
    6,
    9,
    1,
  ),
];
