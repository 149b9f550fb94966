import { createHash } from 'node:crypto';
import { conversationOf, type LabelledAnswer, type PreferencePair } from '../../data/index.js';
import { type ChatTemplate, type Conversation, renderTemplate } from '../../tokenizer/index.js';
import type { Text } from './pack.js';

/** A pair as a trainer needs it. */
export interface Pair {
  readonly chosen: Text;
  readonly rejected: Text;
  readonly margin: number;
}

/** An answer with its label. */
export interface Labelled {
  readonly text: Text;
  readonly label: number;
}

export const pairTokens = ({ chosen, rejected }: Pair): number => chosen.ids.length + rejected.ids.length;

/** Both sides in ids, through the chat template. @throws TrainMoeError that begins with the pair's place */
export function encodePair(template: ChatTemplate, pair: PreferencePair): Pair {
  const side = (answer: PreferencePair['chosen']) => encodeConversation(template, conversationOf(pair, answer));
  return { chosen: side(pair.chosen), rejected: side(pair.rejected), margin: pair.margin ?? 0 };
}

export function encodeLabelled(template: ChatTemplate, item: LabelledAnswer): Labelled {
  return { text: encodeConversation(template, conversationOf(item, item.answer)), label: item.label };
}

/** A conversation that ends with the last token of its answer, which is where it is scored. */
export function encodeConversation(template: ChatTemplate, conversation: Conversation): Text {
  const { ids, mask } = renderTemplate(template, conversation);
  const end = mask.lastIndexOf(1) + 1;
  return { ids: ids.subarray(0, end), mask: mask.subarray(0, end) };
}

/** Names texts in their order: equal for equal ids and masks. */
export function fingerprintOf(texts: Iterable<Text>): string {
  const hash = createHash('sha256');
  for (const { ids, mask } of texts) hash.update(new Uint8Array(Int32Array.of(ids.length, ...ids).buffer)).update(mask);
  return hash.digest('hex').slice(0, 16);
}
