import { TrainMoeError } from '../../errors.js';
import type { Message } from '../../tokenizer/chat/index.js';
import { kindOfValue } from '../collect/read_jsonl.js';
import { messagesOf } from '../conversations/index.js';
import type { DataRecord } from '../records.js';
import { isTranscript, readTranscript } from './transcript.js';
import type { LabelledAnswer, PreferencePair } from './types.js';

type Fields = DataRecord['fields'];

/** A record without a pair, and why: people who do not agree, or two sides that are the same. */
export interface Undecided {
  readonly undecided: 'tie' | 'same';
}

/** A way in which records hold pairs. */
export interface PreferenceFormat {
  readonly name: string;
  /** What a record of this format has, for people. */
  readonly fields: string;
  matches(fields: Fields): boolean;
  /** @throws TrainMoeError `bad-data` with the place and what is wrong */
  read(record: DataRecord): PreferencePair | Undecided;
}

/** In the order in which they are tried. */
export const preferenceFormats: readonly PreferenceFormat[] = [
  {
    name: 'pairs',
    fields: 'chosen and rejected, perhaps prompt: strings, transcripts "\\n\\nHuman: ..", or lists of messages',
    matches: (fields) => 'chosen' in fields && 'rejected' in fields,
    read: readPair,
  },
  {
    name: 'pandalm',
    fields:
      'instruction, response1, response2, annotator1 (1, 2, or 0 for a tie), and perhaps input and more annotators',
    matches: (fields) => 'response1' in fields && 'response2' in fields,
    read: readPandalm,
  },
];

/** Reads a pair of any format. @throws TrainMoeError `bad-data` with the fields found and those of each format */
export function pairOf(record: DataRecord): PreferencePair | Undecided {
  const format = preferenceFormats.find(({ matches }) => matches(record.fields));
  if (format) return format.read(record);
  const known = preferenceFormats.map(({ name, fields }) => `${name} (${fields})`).join('; ');
  const there = Object.keys(record.fields).slice(0, 12).join(', ') || 'none';
  throw new TrainMoeError('bad-data', `${record.place}: no format of pairs has the fields ${there}. Known: ${known}.`);
}

function readPair({ fields, place }: DataRecord): PreferencePair | Undecided {
  const margin = marginOf(fields, place);
  const made = (pair: Omit<PreferencePair, 'place' | 'margin'>): PreferencePair | Undecided =>
    JSON.stringify(pair.chosen) === JSON.stringify(pair.rejected)
      ? { undecided: 'same' }
      : { ...pair, place, ...(margin !== undefined && { margin }) };
  const { prompt, chosen, rejected } = fields;
  const texts = typeof chosen === 'string' && typeof rejected === 'string';
  if (prompt !== undefined && prompt !== null && (texts || !beginsWithPrompt(chosen))) {
    const asked = promptOf(prompt, place);
    const sides = [answerOf(chosen, 'chosen', place), answerOf(rejected, 'rejected', place)] as const;
    return made({ prompt: asked.messages, chosen: sides[0], rejected: sides[1], plain: asked.plain && texts });
  }
  if (texts) {
    if (isTranscript(chosen) && isTranscript(rejected))
      return made(
        apart(readTranscript(chosen, `${place}: chosen`), readTranscript(rejected, `${place}: rejected`), place),
      );
    return made(commonText(chosen, rejected));
  }
  return made(apart(spoken(chosen, 'chosen', place), spoken(rejected, 'rejected', place), place));
}

/** Some data sets repeat the prompt: as a string, and as the first messages of both sides. */
const beginsWithPrompt = (side: unknown): boolean =>
  Array.isArray(side) && (side[0] as { role?: unknown } | undefined)?.role !== 'assistant';

/** What both sides share comes first; of each side at least the last message is its own. */
function apart(
  chosen: readonly Message[],
  rejected: readonly Message[],
  place: string,
): Omit<PreferencePair, 'place' | 'margin'> {
  const most = Math.min(chosen.length, rejected.length) - 1;
  let shared = 0;
  while (shared < most && JSON.stringify(chosen[shared]) === JSON.stringify(rejected[shared])) shared++;
  if (shared === 0)
    throw new TrainMoeError(
      'bad-data',
      `${place}: chosen and rejected begin with different messages; both must answer the same prompt.`,
    );
  return {
    prompt: chosen.slice(0, shared),
    chosen: chosen.slice(shared),
    rejected: rejected.slice(shared),
    plain: false,
  };
}

/** Two plain texts: their common beginning, up to the last white space in it, is the prompt. */
function commonText(chosen: string, rejected: string): Omit<PreferencePair, 'place' | 'margin'> {
  let at = 0;
  while (at < chosen.length && chosen[at] === rejected[at]) at++;
  const prompt = chosen.slice(0, at).replace(/\S*$/, '').trimEnd();
  const rest = (text: string): Message[] => [{ role: 'assistant', content: text.slice(prompt.length) }];
  return { prompt: [{ role: 'user', content: prompt }], chosen: rest(chosen), rejected: rest(rejected), plain: true };
}

/** A plain string is continued as it stands; a transcript and a list of messages go through the chat template. */
export function promptOf(
  prompt: unknown,
  place: string,
): { readonly messages: readonly Message[]; readonly plain: boolean } {
  if (typeof prompt !== 'string') return { messages: messagesOf(prompt, 'prompt', place), plain: false };
  if (!isTranscript(prompt)) return { messages: [{ role: 'user', content: prompt }], plain: true };
  const open = prompt.replace(/\s*Assistant:\s*$/, '');
  return { messages: readTranscript(`${open}\n\nAssistant:`, `${place}: prompt`).slice(0, -1), plain: false };
}

/** An answer: a string, or the messages that end in the assistant's. */
export function answerOf(value: unknown, name: string, place: string): Message[] {
  if (typeof value === 'string') return [{ role: 'assistant', content: value }];
  return spoken(value, name, place);
}

function spoken(value: unknown, name: string, place: string): Message[] {
  if (typeof value === 'string' || !Array.isArray(value)) {
    const found = value === undefined ? 'missing' : kindOfValue(value);
    throw new TrainMoeError('bad-data', `${place}: ${name} is ${found}, expected a string or a list of messages.`);
  }
  const messages = messagesOf(value, name, place);
  if (messages.at(-1)!.role === 'assistant') return messages;
  throw new TrainMoeError(
    'bad-data',
    `${place}: ${name} ends with a turn of the ${messages.at(-1)!.role}; the assistant's answer is what is judged.`,
  );
}

function marginOf({ margin }: Fields, place: string): number | undefined {
  if (margin === undefined || margin === null) return undefined;
  if (typeof margin === 'number' && Number.isFinite(margin)) return margin;
  throw new TrainMoeError('bad-data', `${place}: margin is ${kindOfValue(margin)}, expected a number.`);
}

/** More annotators must prefer a response than prefer the other, and than call it a tie. Wang et al., arXiv:2306.05087. */
function readPandalm({ fields, place }: DataRecord): PreferencePair | Undecided {
  const votes = Object.entries(fields).filter(([name]) => /^annotator\d+$/.test(name));
  for (const [name, vote] of votes)
    if (![0, 1, 2].includes(vote as number))
      throw new TrainMoeError('bad-data', `${place}: ${name} is ${JSON.stringify(vote)}, expected 0, 1 or 2.`);
  if (votes.length === 0) throw new TrainMoeError('bad-data', `${place}: there is no annotator1.`);
  const text = (name: string): string => {
    const value = fields[name];
    if (typeof value === 'string') return value;
    if (typeof value === 'boolean' || typeof value === 'number') return String(value); // an answer "true" that lost its quotes
    throw new TrainMoeError('bad-data', `${place}: ${name} is ${kindOfValue(value)}, expected a string.`);
  };
  const [first, second] = [text('response1'), text('response2')];
  const input = fields.input ? text('input') : '';
  const instruction = text('instruction');
  const [ties, firsts, seconds] = [0, 1, 2].map((kind) => votes.filter(([, vote]) => vote === kind).length) as [
    number,
    number,
    number,
  ];
  if (Math.max(firsts, seconds) <= Math.max(ties, Math.min(firsts, seconds))) return { undecided: 'tie' };
  if (first === second) return { undecided: 'same' };
  const answer = (content: string): Message[] => [{ role: 'assistant', content }];
  return {
    prompt: [{ role: 'user', content: input ? `${instruction}\n\n${input}` : instruction }],
    chosen: answer(firsts > seconds ? first : second),
    rejected: answer(firsts > seconds ? second : first),
    plain: false,
    place,
  };
}

const LABELS: ReadonlyMap<unknown, number> = new Map<unknown, number>([
  [true, 1],
  [false, 0],
  [1, 1],
  [0, 0],
  ['safe', 1],
  ['unsafe', 0],
  ['good', 1],
  ['bad', 0],
]);

/** An answer with a label, `prompt`, `completion` and `label`. @throws TrainMoeError `bad-data` with the place */
export function labelledOf({ fields, place }: DataRecord): LabelledAnswer {
  const label = LABELS.get(fields.label);
  if (label === undefined)
    throw new TrainMoeError(
      'bad-data',
      `${place}: label is ${JSON.stringify(fields.label) ?? 'missing'}; expected ${[...LABELS.keys()].map((l) => JSON.stringify(l)).join(', ')}.`,
    );
  const { messages, plain } = promptOf(fields.prompt, place);
  const answer = answerOf(fields.completion, 'completion', place);
  return { prompt: messages, answer, label, plain: plain && typeof fields.completion === 'string', place };
}
