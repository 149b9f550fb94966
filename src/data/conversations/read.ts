import { TrainMoeError } from '../../errors.js';
import type { Conversation } from '../../tokenizer/chat/index.js';
import { readRecords } from '../records.js';
import {
  type ConversationFormat,
  conversationFormats,
  type FormatName,
  type FormatOptions,
  formatOf,
} from './formats.js';

export interface ReadOptions extends FormatOptions {
  /** The format of all records; by default that of each file's first record. */
  readonly format?: FormatName | undefined;
}

/**
 * The conversations of a file (see readRecords() for the kinds of files). All records of a file have one format.
 * @throws TrainMoeError `bad-data` naming file, line and what is wrong with the first bad record
 */
export async function* readConversations(file: string, options: ReadOptions = {}): AsyncGenerator<Conversation> {
  let format: ConversationFormat | undefined = named(options.format);
  for await (const record of readRecords(file)) {
    format ??= formatOf(record);
    if (options.format === undefined && !format.matches(record.fields))
      throw new TrainMoeError(
        'bad-data',
        `${record.place}: the file began as ${format.name} (${format.fields}), but this record has the fields ${Object.keys(record.fields).slice(0, 12).join(', ') || 'none'}.`,
      );
    yield* format.read(record, options);
  }
}

function named(name: FormatName | undefined): ConversationFormat | undefined {
  return name === undefined ? undefined : conversationFormats.find((format) => format.name === name);
}
