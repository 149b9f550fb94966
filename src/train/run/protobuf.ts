/** The wire format of protocol buffers, writing only: https://protobuf.dev/programming-guides/encoding. */

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

export type Field = Buffer;

/** Joins fields to a message. */
export const message = (...fields: readonly Field[]): Buffer => Buffer.concat(fields);

export function varintField(field: number, value: number): Field {
  return Buffer.concat([tag(field, VARINT), varint(value)]);
}

export function doubleField(field: number, value: number): Field {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([tag(field, FIXED64), bytes]);
}

export function floatField(field: number, value: number): Field {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return Buffer.concat([tag(field, FIXED32), bytes]);
}

/** Text, bytes, or a message inside a message. */
export function bytesField(field: number, value: string | Uint8Array): Field {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([tag(field, LENGTH_DELIMITED), varint(bytes.length), bytes]);
}

const tag = (field: number, wireType: number) => varint(field * 8 + wireType);

/** Seven bits a byte, lowest first, for integers from 0 to 2^53 - 1. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) + 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}
