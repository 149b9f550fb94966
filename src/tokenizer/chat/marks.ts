import { TrainMoeError } from '../../errors.js';
import type { AddedToken } from '../added.js';
import type { Conversation, Message } from './conversation.js';

/**
 * Characters that occur nowhere in a conversation or its template. `open` and `close` stand where `{% generation %}` blocks
 * begin and end; `inside` breaks up what is spelled like a token within a message.
 */
export interface Marks {
  readonly open: string;
  readonly close: string;
  readonly inside: string;
}

/** The names under which a template is given `open` and `close`. */
export const MARK_NAMES = { open: 'train_moe_open', close: 'train_moe_close' } as const;

/** The private use area of the Basic Multilingual Plane: no standard gives these characters a meaning. */
const PRIVATE = { first: 0xe000, last: 0xf8ff } as const;

/** Three private characters that none of the texts holds. @throws TrainMoeError `bad-data` when all occur */
export function chooseMarks(texts: readonly string[]): Marks {
  const free: string[] = [];
  for (let code = PRIVATE.last; code >= PRIVATE.first && free.length < 3; code--) {
    const mark = String.fromCharCode(code);
    if (!texts.some((text) => text.includes(mark))) free.push(mark);
  }
  const [open, close, inside] = free;
  if (open !== undefined && close !== undefined && inside !== undefined) return { open, close, inside };
  throw new TrainMoeError('bad-data', 'A conversation holds every private character of Unicode (U+E000 to U+F8FF).');
}

/**
 * Makes `{% generation %}` and `{% endgeneration %}` print the marks. Those tags are an addition to Jinja by transformers,
 * which the interpreter removes; a block that is always taken trims white space as they would.
 */
export function markGeneration(template: string): string {
  return template.replace(
    /\{%(-?)\s*(end)?generation\s*(-?)%\}/g,
    (_, left: string, end: string | undefined, right: string) =>
      `{%${left} if true %}{{ ${end ? MARK_NAMES.close : MARK_NAMES.open} }}{% endif ${right}%}`,
  );
}

export const hasGeneration = (template: string): boolean => /\{%-?\s*generation\s*-?%\}/.test(template);

/** Breaks up tokens in the texts of messages. */
export type Protect = (conversation: Conversation, mark: string) => Conversation;

/**
 * Text from outside must not become tokens that steer the model. In assistant turns special tokens are broken up; tokens
 * like `<think>`, which are added but not special, are part of what is learned there. In all other turns both are. A text
 * that ends or begins with a part of such a token is closed with a mark, so that two turns cannot join to one.
 */
export function protector(added: readonly AddedToken[]): Protect {
  const special = breaker(added.filter((token) => token.special));
  const all = breaker(added);
  return (conversation, mark) => ({
    ...conversation,
    messages: conversation.messages.map((message) => {
      const change = (text: string) => (message.role === 'assistant' ? special : all)(text, mark);
      return { ...message, content: change(message.content), ...(message.extra && { extra: deep(message, change) }) };
    }),
    ...(conversation.tools && { tools: everyText(conversation.tools, (text) => all(text, mark)) as unknown[] }),
  });
}

const deep = ({ extra }: Message, change: (text: string) => string) =>
  everyText(extra, change) as Readonly<Record<string, unknown>>;

function everyText(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === 'string') return change(value);
  if (Array.isArray(value)) return value.map((item) => everyText(item, change));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, everyText(item, change)]));
}

/** Puts a mark after the first character of every place where a token begins. A token of one character has no inside. */
function breaker(tokens: readonly AddedToken[]): (text: string, mark: string) => string {
  const spelled = tokens.map(({ content }) => content).filter((content) => [...content].length > 1);
  if (spelled.length === 0) return (text) => text;
  const escaped = spelled.map((content) => content.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'));
  const starts = new RegExp(`(?=${escaped.join('|')})(.)`, 'gsu');
  const heads = new Set(spelled.flatMap((content) => parts(content, (n) => content.slice(0, n))));
  const tails = new Set(spelled.flatMap((content) => parts(content, (n) => content.slice(n))));
  const longest = Math.max(...spelled.map((content) => content.length)) - 1;
  const touches = (text: string, known: ReadonlySet<string>, cut: (n: number) => string): boolean => {
    for (let n = Math.min(longest, text.length); n > 0; n--) if (known.has(cut(n))) return true;
    return false;
  };
  return (text, mark) => {
    const before = touches(text, tails, (n) => text.slice(0, n)) ? mark : '';
    const after = touches(text, heads, (n) => text.slice(text.length - n)) ? mark : '';
    return before + text.replace(starts, `$1${mark}`) + after;
  };
}

const parts = (content: string, cut: (n: number) => string): string[] =>
  Array.from({ length: content.length - 1 }, (_, i) => cut(i + 1));
