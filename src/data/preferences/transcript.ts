import { TrainMoeError } from '../../errors.js';
import type { Message } from '../../tokenizer/chat/index.js';

/** How turns begin in the transcripts of Bai et al. (arXiv:2204.05862). */
const TURN = /\n\n(Human|Assistant):/g;

export const isTranscript = (text: string): boolean => /^\s*(Human|Assistant):/.test(text);

/**
 * The turns of a text "\n\nHuman: ..\n\nAssistant: ..", without the white space around them. Neighbouring turns of one
 * speaker become one.
 * @throws TrainMoeError `bad-data` with the place for a text that is no transcript, or does not end in an assistant's turn
 */
export function readTranscript(text: string, place: string): Message[] {
  if (!isTranscript(text))
    throw new TrainMoeError(
      'bad-data',
      `${place} begins with ${JSON.stringify(text.slice(0, 20))}; a transcript begins with "\\n\\nHuman:".`,
    );
  const whole = `\n\n${text.trimStart()}`;
  const marks = [...whole.matchAll(TURN)];
  const messages: Message[] = [];
  marks.forEach((mark, i) => {
    const role = mark[1] === 'Human' ? 'user' : 'assistant';
    const content = whole.slice(mark.index + mark[0].length, marks[i + 1]?.index).trim();
    const last = messages.at(-1);
    if (last?.role === role) messages[messages.length - 1] = { role, content: `${last.content}\n\n${content}`.trim() };
    else messages.push({ role, content });
  });
  if (messages.at(-1)!.role === 'assistant') return messages;
  throw new TrainMoeError(
    'bad-data',
    `${place} ends in a turn of the human; the assistant's answer is what is judged.`,
  );
}
