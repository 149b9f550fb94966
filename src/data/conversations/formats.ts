import { TrainMoeError } from '../../errors.js';
import type { Conversation, Message } from '../../tokenizer/chat/index.js';
import { kindOfValue } from '../collect/read_jsonl.js';
import type { DataRecord } from '../records.js';
import { messagesOf, SHAREGPT_ROLES, shareGptOf } from './messages.js';

/** How records become conversations. */
export interface FormatOptions {
  /** Prompts given as a plain string: `text` is continued as it stands, `user` becomes a turn of the chat template. */
  readonly promptAs?: 'text' | 'user';
}

/** A way in which records hold conversations. */
export interface ConversationFormat {
  readonly name: FormatName;
  /** What a record of this format has, for people. */
  readonly fields: string;
  /** Whether a record with these fields is meant to be of this format. */
  matches(fields: DataRecord['fields']): boolean;
  /** The conversations of a record. @throws TrainMoeError `bad-data` with the place and what is wrong */
  read(record: DataRecord, options: FormatOptions): Conversation[];
}

/** In the order in which they are tried. */
export const conversationFormats: readonly ConversationFormat[] = [
  {
    name: 'messages',
    fields: 'messages: a list of {role, content}',
    matches: (fields) => 'messages' in fields,
    read: ({ fields, place }) => [spoken({ messages: messagesOf(fields.messages, 'messages', place) }, fields, place)],
  },
  {
    name: 'sharegpt',
    fields: `conversations: a list of {from, value}, from being ${Object.keys(SHAREGPT_ROLES).join(', ')}`,
    matches: (fields) => 'conversations' in fields,
    read: ({ fields, place }) => {
      const messages = shareGptOf(fields.conversations, place);
      const system = optionalText(fields, 'system', place);
      return [spoken({ messages: [...systemTurn(system), ...messages] }, fields, place)];
    },
  },
  {
    name: 'prompt-completion',
    fields: 'prompt and completion: two strings, or two lists of messages',
    matches: (fields) => 'prompt' in fields && 'completion' in fields,
    read: ({ fields, place }, options) => [spoken(promptCompletion(fields, place, options), fields, place)],
  },
  {
    name: 'self-instruct',
    fields: 'instruction, and instances: a list of {input, output}',
    matches: (fields) => 'instruction' in fields && 'instances' in fields,
    read: ({ fields, place }) => {
      if (!Array.isArray(fields.instances)) throw wrong(place, 'instances', 'a list', fields.instances);
      return fields.instances.map((instance: unknown, i) => {
        if (typeof instance !== 'object' || instance === null)
          throw wrong(place, `instances[${i}]`, 'an object', instance);
        return spoken(alpaca({ ...fields, ...instance }, place), {}, place);
      });
    },
  },
  {
    name: 'alpaca',
    fields: 'instruction, output, and perhaps input and system',
    matches: (fields) => 'instruction' in fields && 'output' in fields,
    read: ({ fields, place }) => [spoken(alpaca(fields, place), fields, place)],
  },
];

/** Formats of conversations that are known. */
export type FormatName = 'messages' | 'sharegpt' | 'prompt-completion' | 'self-instruct' | 'alpaca';

/** The format whose fields a record has. @throws TrainMoeError `bad-data` with the fields found and those of each format */
export function formatOf({ fields, place }: DataRecord): ConversationFormat {
  const found = conversationFormats.find((format) => format.matches(fields));
  if (found) return found;
  const known = conversationFormats.map((format) => `${format.name} (${format.fields})`).join('; ');
  const there = Object.keys(fields).slice(0, 12).join(', ') || 'none';
  throw new TrainMoeError('bad-data', `${place}: no format of conversations has the fields ${there}. Known: ${known}.`);
}

function promptCompletion(
  { prompt, completion }: DataRecord['fields'],
  place: string,
  { promptAs = 'text' }: FormatOptions,
): Conversation {
  if (typeof prompt === 'string' && typeof completion === 'string')
    return {
      messages: [
        { role: 'user', content: prompt },
        { role: 'assistant', content: completion },
      ],
      ...(promptAs === 'text' && { plain: true }),
    };
  if (typeof prompt === 'string') throw wrong(place, 'completion', 'a string like the prompt', completion);
  const asked = messagesOf(prompt, 'prompt', place);
  const answered = typeof completion === 'string' ? [{ role: 'assistant', content: completion }] : completion;
  return { messages: [...asked.map(untrained), ...messagesOf(answered, 'completion', place)] };
}

const untrained = (message: Message): Message =>
  message.role === 'assistant' ? { ...message, train: false } : message;

/** Instruction and input, a blank line between them, as one turn of the user. */
function alpaca(fields: DataRecord['fields'], place: string): Conversation {
  const instruction = text(fields.instruction, 'instruction', place);
  const input = optionalText(fields, 'input', place);
  return {
    messages: [
      ...systemTurn(optionalText(fields, 'system', place)),
      { role: 'user', content: input ? `${instruction}\n\n${input}` : instruction },
      { role: 'assistant', content: text(fields.output, 'output', place) },
    ],
  };
}

const systemTurn = (content: string): Message[] => (content ? [{ role: 'system', content }] : []);

/** Checks that the assistant says something, and leaves out what follows its last turn: nothing there is trained. */
function spoken(conversation: Conversation, fields: DataRecord['fields'], place: string): Conversation {
  const { messages } = conversation;
  const last = messages.findLastIndex(({ role, content, extra }) => role === 'assistant' && (content !== '' || extra));
  if (last < 0)
    throw new TrainMoeError('bad-data', `${place}: the assistant says nothing, so there is nothing to learn.`);
  const tools = Array.isArray(fields.tools) && fields.tools.length > 0 ? { tools: fields.tools } : {};
  return { ...conversation, messages: messages.slice(0, last + 1), ...tools, place };
}

function text(value: unknown, name: string, place: string): string {
  if (typeof value === 'string') return value;
  throw wrong(place, name, 'a string', value);
}

function optionalText(fields: DataRecord['fields'], name: string, place: string): string {
  const value = fields[name];
  return value === undefined || value === null ? '' : text(value, name, place);
}

function wrong(place: string, name: string, expected: string, found: unknown): TrainMoeError {
  const what = found === undefined ? 'missing' : kindOfValue(found);
  return new TrainMoeError('bad-data', `${place}: ${name} is ${what}, expected ${expected}.`);
}
