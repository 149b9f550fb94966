import { type ChatTemplate, type Message, renderPrompt } from '../../tokenizer/index.js';

/** What is left of a conversation, and its prompt. */
export interface Remembered {
  readonly messages: readonly Message[];
  readonly prompt: readonly number[];
}

/**
 * The longest ending of a conversation whose prompt has at most `room` tokens. What is forgotten is whole exchanges, the oldest
 * first; instructions at the beginning stay, as does the last message. Undefined when these alone are longer.
 */
export function remember(template: ChatTemplate, messages: readonly Message[], room: number): Remembered | undefined {
  const instructions = messages.filter(({ role }, i) => role === 'system' && i === 0);
  for (let rest = messages.slice(instructions.length); rest.length > 0; rest = withoutFirstExchange(rest)) {
    const kept = [...instructions, ...rest];
    const prompt = [...renderPrompt(template, { messages: kept })];
    if (prompt.length <= room) return { messages: kept, prompt };
  }
  return undefined;
}

/** Up to what the user says next. */
function withoutFirstExchange(messages: readonly Message[]): Message[] {
  const next = messages.findIndex(({ role }, i) => role === 'user' && i > 0);
  return next < 0 ? [] : messages.slice(next);
}
