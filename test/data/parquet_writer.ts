import { gzipSync } from 'node:zlib';

/** A minimal Parquet writer for tests: optional byte-array columns, one plain page per column and row group. */

type Value = Buffer | null;
export type Column = readonly (string | Uint8Array | null)[];

interface WriteOptions {
  readonly rowGroupRows?: number;
  readonly gzip?: boolean;
}

/** Thrift compact protocol: [field id, type, encoded value]. */
type Field = readonly [number, number, Buffer];
const I32 = 5;
const I64 = 6;
const BINARY = 8;
const LIST = 9;
const STRUCT = 12;

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...bytes, rest]);
}

const integer = (value: number): Buffer => varint(value * 2);
const text = (value: string): Buffer => Buffer.concat([varint(Buffer.byteLength(value)), Buffer.from(value)]);

function list(type: number, items: readonly Buffer[]): Buffer {
  const head = items.length < 15 ? Buffer.from([(items.length << 4) | type]) : Buffer.from([0xf0 | type]);
  return Buffer.concat([head, ...(items.length < 15 ? [] : [varint(items.length)]), ...items]);
}

function struct(...fields: readonly Field[]): Buffer {
  let last = 0;
  const parts = fields.map(([id, type, value]) => {
    const head = Buffer.from([((id - last) << 4) | type]);
    last = id;
    return Buffer.concat([head, value]);
  });
  return Buffer.concat([...parts, Buffer.from([0])]);
}

/** Definition levels (bit-packed, one bit each) and the values that are there. */
function pageBody(values: readonly Value[]): Buffer {
  const bits = Buffer.alloc(Math.ceil(values.length / 8));
  values.forEach((value, i) => {
    if (value !== null) bits[i >> 3]! |= 1 << (i & 7);
  });
  const levels = Buffer.concat([varint(bits.length * 2 + 1), bits]);
  const size = (n: number): Buffer => {
    const out = Buffer.alloc(4);
    out.writeUInt32LE(n);
    return out;
  };
  const present = values.filter((value) => value !== null);
  return Buffer.concat([size(levels.length), levels, ...present.flatMap((value) => [size(value.length), value])]);
}

export function parquetFile(columns: Readonly<Record<string, Column>>, options: WriteOptions = {}): Buffer {
  const names = Object.keys(columns);
  const rows = columns[names[0]!]!.length;
  const { rowGroupRows = rows, gzip = false } = options;
  const parts: Buffer[] = [Buffer.from('PAR1')];
  let offset = 4;
  const groups: Buffer[] = [];
  for (let from = 0; from < rows; from += rowGroupRows) {
    const count = Math.min(rowGroupRows, rows - from);
    const chunks = names.map((name) => {
      const values = columns[name]!.slice(from, from + count).map((v) =>
        v === null ? null : Buffer.from(v as string),
      );
      const plain = pageBody(values);
      const body = gzip ? gzipSync(plain) : plain;
      const pageHeader = struct(
        [1, I32, integer(0)],
        [2, I32, integer(plain.length)],
        [3, I32, integer(body.length)],
        [5, STRUCT, struct([1, I32, integer(count)], [2, I32, integer(0)], [3, I32, integer(3)], [4, I32, integer(3)])],
      );
      parts.push(pageHeader, body);
      const start = offset;
      offset += pageHeader.length + body.length;
      const meta = struct(
        [1, I32, integer(6)],
        [2, LIST, list(I32, [integer(0), integer(3)])],
        [3, LIST, list(BINARY, [text(name)])],
        [4, I32, integer(gzip ? 2 : 0)],
        [5, I64, integer(count)],
        [6, I64, integer(pageHeader.length + plain.length)],
        [7, I64, integer(offset - start)],
        [9, I64, integer(start)],
      );
      return struct([2, I64, integer(start)], [3, STRUCT, meta]);
    });
    groups.push(struct([1, LIST, list(STRUCT, chunks)], [2, I64, integer(offset)], [3, I64, integer(count)]));
  }
  const root = struct([4, BINARY, text('schema')], [5, I32, integer(names.length)]);
  const leaves = names.map((name) =>
    struct([1, I32, integer(6)], [3, I32, integer(1)], [4, BINARY, text(name)], [6, I32, integer(0)]),
  );
  const footer = struct(
    [1, I32, integer(1)],
    [2, LIST, list(STRUCT, [root, ...leaves])],
    [3, I64, integer(rows)],
    [4, LIST, list(STRUCT, groups)],
  );
  const tail = Buffer.alloc(8);
  tail.writeUInt32LE(footer.length);
  tail.write('PAR1', 4);
  return Buffer.concat([...parts, footer, tail]);
}
