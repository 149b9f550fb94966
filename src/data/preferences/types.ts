import type { Conversation, Message } from '../../tokenizer/chat/index.js';

/** Two answers to the same prompt, of which a person (or a rule) chose one. */
export interface PreferencePair {
  /** What both sides begin with. Its assistant turns are not trained. */
  readonly prompt: readonly Message[];
  readonly chosen: readonly Message[];
  readonly rejected: readonly Message[];
  /** The texts follow each other as they are, without a chat template. */
  readonly plain: boolean;
  /** By how much the chosen side is better, where the data says so. */
  readonly margin?: number;
  /** "file:line". Begins the sentences about it. */
  readonly place: string;
}

/** One answer with a verdict: 1 good (safe), 0 not. */
export interface LabelledAnswer {
  readonly prompt: readonly Message[];
  readonly answer: readonly Message[];
  readonly label: number;
  readonly plain: boolean;
  readonly place: string;
}

/** A side of a pair, or a labelled answer, as a conversation whose answer alone is trained. */
export function conversationOf(
  { prompt, plain, place }: Pick<PreferencePair, 'prompt' | 'plain' | 'place'>,
  answer: readonly Message[],
): Conversation {
  const shown = prompt.map((m): Message => (m.role === 'assistant' ? { ...m, train: false } : m));
  return { messages: [...shown, ...answer], place, ...(plain && { plain }) };
}
