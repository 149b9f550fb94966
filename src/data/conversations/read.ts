import { TrainMoeError } from '../../errors.js';
import type { Conversation } from '../../tokenizer/chat/index.js';
import { type DataRecord, type OnBad, orTold, readRecords } from '../records.js';
import {
  type ConversationFormat,
  conversationFormats,
  type FormatName,
  type FormatOptions,
  formatOf,
} from './formats.js';

/** How conversations are read. */
export interface ReadOptions extends FormatOptions {
  /** The format of all records; by default that of each file's first record. */
  readonly format?: FormatName | undefined;
  /** Told of each bad record, which is then left out; without it the first one is an error. */
  readonly onBad?: OnBad | undefined;
  /** Told the format once it is known. */
  readonly onFormat?: (format: ConversationFormat) => void;
}

/**
 * The conversations of a file (see readRecords() for the kinds of files). All records of a file have one format.
 * @throws TrainMoeError `bad-data` naming file, line and what is wrong with the first bad record
 */
export async function* readConversations(file: string, options: ReadOptions = {}): AsyncGenerator<Conversation> {
  let format: ConversationFormat | undefined;
  const asked = named(options.format);
  for await (const record of readRecords(file, options.onBad)) {
    const found = orTold(options.onBad, () => {
      if (!format) {
        format = asked ?? formatOf(record);
        options.onFormat?.(format);
      }
      if (!asked && !format.matches(record.fields)) throw otherFormat(format, record);
      return format.read(record, options);
    });
    if (found) yield* found;
  }
}

function otherFormat({ name, fields }: ConversationFormat, record: DataRecord): TrainMoeError {
  const there = Object.keys(record.fields).slice(0, 12).join(', ') || 'none';
  return new TrainMoeError(
    'bad-data',
    `${record.place}: the file began as ${name} (${fields}), but this record has the fields ${there}.`,
  );
}

function named(name: FormatName | undefined): ConversationFormat | undefined {
  return name === undefined ? undefined : conversationFormats.find((format) => format.name === name);
}
