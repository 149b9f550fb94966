import { TrainMoeError } from '../../errors.js';
import type { Message, Role } from '../../tokenizer/chat/index.js';
import { kindOfValue } from '../collect/read_jsonl.js';

const ROLES: Readonly<Record<string, Role>> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  assistant: 'assistant',
  tool: 'tool',
  function: 'tool',
};

export const SHAREGPT_ROLES: Readonly<Record<string, Role>> = {
  system: 'system',
  human: 'user',
  user: 'user',
  gpt: 'assistant',
  assistant: 'assistant',
  chatgpt: 'assistant',
  bing: 'assistant',
  bard: 'assistant',
  tool: 'tool',
  function_response: 'tool',
  observation: 'tool',
};

/**
 * A list of messages as OpenAI writes them: `content` is a string, a list of text parts, or null beside `tool_calls`;
 * `weight: 0` leaves an assistant turn out of the loss. Other fields are kept for the template.
 * @throws TrainMoeError `bad-data` naming the place, the message and what is wrong with it
 */
export function messagesOf(value: unknown, name: string, place: string): Message[] {
  return listOf(value, name, place).map((message, i) => {
    const where = `${place}: ${name}[${i}]`;
    const { role, content, weight, ...extra } = message;
    const known = roleOf(role, ROLES, 'role', where);
    const kept = Object.entries(extra).filter(([, field]) => field !== undefined && field !== null);
    return {
      role: known,
      content: contentOf(content, 'tool_calls' in extra, where),
      ...(weight === 0 && { train: false }),
      ...(kept.length > 0 && { extra: Object.fromEntries(kept) }),
    };
  });
}

/** A list of turns as ShareGPT writes them: `from` and `value`. @throws as messagesOf() */
export function shareGptOf(value: unknown, place: string): Message[] {
  return listOf(value, 'conversations', place).map(({ from, value: content }, i) => {
    const where = `${place}: conversations[${i}]`;
    return { role: roleOf(from, SHAREGPT_ROLES, 'from', where), content: contentOf(content, false, where, 'value') };
  });
}

function listOf(value: unknown, name: string, place: string): Readonly<Record<string, unknown>>[] {
  if (!Array.isArray(value))
    throw new TrainMoeError(
      'bad-data',
      `${place}: ${name} is ${value === undefined ? 'missing' : kindOfValue(value)}, expected a list of messages.`,
    );
  if (value.length === 0) throw new TrainMoeError('bad-data', `${place}: ${name} is empty.`);
  for (const [i, item] of value.entries())
    if (typeof item !== 'object' || item === null || Array.isArray(item))
      throw new TrainMoeError('bad-data', `${place}: ${name}[${i}] is ${kindOfValue(item)}, expected an object.`);
  return value;
}

function roleOf(value: unknown, roles: Readonly<Record<string, Role>>, field: string, where: string): Role {
  if (typeof value === 'string' && Object.hasOwn(roles, value)) return roles[value]!;
  const found = value === undefined ? 'missing' : typeof value === 'string' ? `"${value}"` : kindOfValue(value);
  throw new TrainMoeError('bad-data', `${where}.${field} is ${found}; known are ${Object.keys(roles).join(', ')}.`);
}

function contentOf(value: unknown, mayBeAbsent: boolean, where: string, field = 'content'): string {
  if (typeof value === 'string') return value;
  if (mayBeAbsent && (value === null || value === undefined)) return '';
  if (Array.isArray(value)) return value.map((part, i) => partOf(part, `${where}.${field}[${i}]`)).join('');
  const found = value === undefined ? 'missing' : kindOfValue(value);
  throw new TrainMoeError('bad-data', `${where}.${field} is ${found}, expected a string.`);
}

function partOf(part: unknown, where: string): string {
  const { type, text } = (part ?? {}) as { type?: unknown; text?: unknown };
  if (type === 'text' && typeof text === 'string') return text;
  throw new TrainMoeError('bad-data', `${where} is no text part ({"type": "text", "text": ".."}).`);
}
