import { type ChatTemplate, type Conversation, type Message, renderTemplate } from '../../tokenizer/chat/index.js';
import { keyedHash, streamKey } from '../order.js';
import { orTold } from '../records.js';
import type { ConversationFormat, FormatName, FormatOptions } from './formats.js';
import { readConversations } from './read.js';

/** What a check of conversations looks at. */
export interface CheckOptions extends FormatOptions {
  readonly format?: FormatName | undefined;
  /** With a template lengths are in tokens and samples show what a model is trained on; without, in characters. */
  readonly template?: ChatTemplate | undefined;
  readonly turns?: 'all' | 'last';
  readonly samples?: number;
}

/** What a file of conversations holds. */
export interface DataCheck {
  readonly file: string;
  readonly format: FormatName | undefined;
  readonly conversations: number;
  /** Turns of each role. */
  readonly turns: Readonly<Partial<Record<Message['role'], number>>>;
  readonly bad: number;
  readonly firstBad: string | undefined;
  readonly unit: 'tokens' | 'characters';
  /** Sum over all conversations, and what of it is trained. */
  readonly total: number;
  readonly trained: number;
  readonly lengths: {
    readonly mean: number;
    readonly median: number;
    readonly p95: number;
    readonly max: number;
    /** How many are longer than the bucket before and at most `upTo`, a power of two. */
    readonly histogram: readonly { readonly upTo: number; readonly count: number }[];
  };
  readonly samples: readonly CheckSample[];
}

/** A conversation as a model is trained on it. */
export interface CheckSample {
  readonly place: string | undefined;
  readonly pieces: readonly { readonly text: string; readonly trained: boolean }[];
}

/**
 * Reads a whole file of conversations, passing over records that are bad, and says what is in it. The samples are always
 * the same ones of a file.
 * @throws TrainMoeError `not-found` when the file does not exist, `bad-data` when it cannot be read at all
 */
export async function checkConversations(file: string, options: CheckOptions = {}): Promise<DataCheck> {
  const { template, samples = 3, turns: wanted } = options;
  const lengths: number[] = [];
  const turns: Partial<Record<Message['role'], number>> = {};
  const kept: { readonly rank: number; readonly sample: CheckSample }[] = [];
  let format: ConversationFormat | undefined;
  let [bad, trained] = [0, 0];
  let firstBad: string | undefined;
  const onBad = (error: Error) => {
    bad++;
    firstBad ??= error.message;
  };
  const onFormat = (found: ConversationFormat) => {
    format = found;
  };
  const key = streamKey(0, 0, 1);
  for await (const conversation of readConversations(file, { ...options, onBad, onFormat })) {
    const pieces = orTold(onBad, () => piecesOf(conversation, template, wanted));
    if (!pieces) continue;
    for (const { role } of conversation.messages) turns[role] = (turns[role] ?? 0) + 1;
    const rank = keyedHash(key, lengths.length);
    lengths.push(pieces.reduce((sum, piece) => sum + piece.size, 0));
    trained += pieces.reduce((sum, piece) => sum + (piece.trained ? piece.size : 0), 0);
    if (kept.length === samples && rank >= kept.at(-1)!.rank) continue;
    kept.push({ rank, sample: { place: conversation.place, pieces: shown(pieces) } });
    kept.sort((a, b) => a.rank - b.rank);
    kept.length = Math.min(kept.length, samples);
  }
  return {
    file,
    format: format?.name,
    conversations: lengths.length,
    turns,
    bad,
    firstBad,
    unit: template ? 'tokens' : 'characters',
    total: lengths.reduce((a, b) => a + b, 0),
    trained,
    lengths: spreadOf(lengths),
    samples: kept.map(({ sample }) => sample),
  };
}

/** A stretch of a conversation; its text is made when it is shown. */
interface Piece {
  readonly size: number;
  readonly trained: boolean;
  text(): string;
}

function piecesOf(
  conversation: Conversation,
  template: ChatTemplate | undefined,
  turns: 'all' | 'last' | undefined,
): Piece[] {
  if (!template)
    return conversation.messages.map(({ role, content, train }) => ({
      size: content.length,
      trained: role === 'assistant' && train !== false,
      text: () => `${role}: ${content}\n`,
    }));
  const { ids, mask } = renderTemplate(template, conversation, { turns });
  const pieces: Piece[] = [];
  for (let start = 0; start < ids.length; ) {
    let end = start;
    while (end < ids.length && mask[end] === mask[start]) end++;
    const run = ids.subarray(start, end);
    pieces.push({ size: run.length, trained: mask[start] === 1, text: () => template.tokenizer.decode(run) });
    start = end;
  }
  return pieces;
}

const shown = (pieces: readonly Piece[]) => pieces.map(({ text, trained }) => ({ text: text(), trained }));

function spreadOf(lengths: readonly number[]): DataCheck['lengths'] {
  const sorted = lengths.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)] ?? 0;
  const buckets = new Map<number, number>();
  for (const length of sorted) {
    const upTo = 2 ** Math.ceil(Math.log2(Math.max(length, 1)));
    buckets.set(upTo, (buckets.get(upTo) ?? 0) + 1);
  }
  return {
    mean: sorted.reduce((a, b) => a + b, 0) / Math.max(sorted.length, 1),
    median: at(0.5),
    p95: at(0.95),
    max: sorted.at(-1) ?? 0,
    histogram: [...buckets].map(([upTo, count]) => ({ upTo, count })),
  };
}
