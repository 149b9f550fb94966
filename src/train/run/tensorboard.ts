import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { TrainMoeError } from '../../errors.js';
import { writeAll } from '../../hub/byte_sink.js';
import { ioError } from '../../hub/io_error.js';
import { crc32c } from './crc32c.js';
import { bytesField, doubleField, floatField, message, varintField } from './protobuf.js';

/** Writes an event file that TensorBoard shows. */
export interface TensorBoardWriter {
  readonly path: string;
  /** One point in each of the named charts. */
  scalars(step: number, values: Readonly<Record<string, number>>): void;
  /** A text panel; TensorBoard renders Markdown. */
  text(step: number, tag: string, markdown: string): void;
  /** Forces what was written to the disk. */
  sync(): void;
  close(): void;
}

export interface TensorBoardOptions {
  /** Steps from this one on that earlier files of the folder hold are hidden: the run goes back to before it. */
  readonly purgeFrom?: number;
  /** Seconds since 1970; a seam for tests. */
  readonly now?: () => number;
}

/** Files opened by this process, so that two opened within a second get different names. */
let opened = 0;

/**
 * Opens a new event file in `folder`; TensorBoard reads all files of a folder as one run. A TFRecord file of `Event`
 * messages (tensorflow/core/util/event.proto). Throws a sentence with the path when it cannot be written.
 */
export function openTensorBoard(
  folder: string,
  { purgeFrom, now = () => Date.now() / 1000 }: TensorBoardOptions = {},
): TensorBoardWriter {
  // TensorBoard takes files in the order of their names, so the time comes first and has a fixed width.
  const time = String(Math.floor(now())).padStart(10, '0');
  const path = join(folder, `events.out.tfevents.${time}.${hostname()}.${process.pid}.${opened++}`);
  const file = openRecords(folder, path);
  const event = (...fields: Buffer[]) => file.append(frameRecord(message(doubleField(1, now()), ...fields)));
  event(bytesField(3, 'brain.Event:2'));
  if (purgeFrom !== undefined) event(varintField(2, checkedStep(purgeFrom)), bytesField(7, SESSION_START));
  return {
    path,
    scalars(step, values) {
      const summary = Object.entries(values).map(([tag, value]) => bytesField(1, scalarValue(tag, value)));
      event(varintField(2, checkedStep(step)), bytesField(5, message(...summary)));
    },
    text(step, tag, markdown) {
      event(varintField(2, checkedStep(step)), bytesField(5, bytesField(1, textValue(tag, markdown))));
    },
    sync: file.sync,
    close: file.close,
  };
}

/** `SessionLog{status: START}`: makes TensorBoard forget what it read for this step and later ones. */
const SESSION_START = varintField(1, 1);

/** `Summary.Value{tag, simple_value}`; a chart leaves a gap for NaN. */
function scalarValue(tag: string, value: number): Buffer {
  return message(bytesField(1, tag), floatField(2, value));
}

const DT_STRING = 7;

/** `Summary.Value{tag, metadata, tensor}` with a string tensor of shape [1], as the text panel expects it. */
function textValue(tag: string, text: string): Buffer {
  const metadata = bytesField(1, bytesField(1, 'text'));
  const shape = bytesField(2, varintField(1, 1));
  const tensor = message(varintField(1, DT_STRING), bytesField(2, shape), bytesField(8, text));
  return message(bytesField(1, tag), bytesField(9, metadata), bytesField(8, tensor));
}

function checkedStep(step: number): number {
  if (Number.isSafeInteger(step) && step >= 0) return step;
  throw new TrainMoeError('bad-argument', `The step is ${step}, but must be an integer from 0.`);
}

/** TFRecord: length (64 bits), its masked checksum, data, its masked checksum; all little-endian. */
export function frameRecord(data: Uint8Array): Buffer {
  const frame = Buffer.alloc(12 + data.length + 4);
  frame.writeBigUInt64LE(BigInt(data.length));
  frame.writeUInt32LE(maskedCrc(frame.subarray(0, 8)), 8);
  frame.set(data, 12);
  frame.writeUInt32LE(maskedCrc(data), 12 + data.length);
  return frame;
}

/** Rotated and shifted, because a checksum over data that holds checksums of itself is weak. */
function maskedCrc(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

function openRecords(folder: string, path: string) {
  const guarded = <T>(action: () => T): T => {
    try {
      return action();
    } catch (cause) {
      throw ioError('write', path, cause);
    }
  };
  const descriptor = guarded(() => {
    mkdirSync(folder, { recursive: true });
    return openSync(path, 'wx');
  });
  let open = true;
  return {
    append: (bytes: Uint8Array) => guarded(() => writeAll(descriptor, bytes)),
    sync: () => guarded(() => fsyncSync(descriptor)),
    close: () => {
      if (open) guarded(() => closeSync(descriptor));
      open = false;
    },
  };
}
