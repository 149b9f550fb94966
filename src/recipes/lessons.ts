import { readFileSync } from 'node:fs';
import { folderSink, writeText } from '../hub/byte_sink.js';
import type { Turn } from '../rl/curate/curate.js';
import { answerPart } from '../rl/rewards/math/extract.js';
import { inEnglish, written } from './transcripts.js';

/** What models are fine-tuned on: conversations, one a line, and pairs of answers of which the first is preferred. */

export interface Conversation {
  readonly messages: readonly Turn[];
}

/** The name of the file in a stage's folder. */
export const DATA = 'data.jsonl';

export function readConversations(path: string): Conversation[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => ({ messages: (JSON.parse(line) as Conversation).messages }));
}

export function writeLines(folder: string, rows: readonly object[]): { readonly rows: number } {
  writeText(folderSink(folder), DATA, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return { rows: rows.length };
}

/**
 * Cold-start data from R1-Zero's right answers, rewritten so that a person can read them: the thoughts in one language.
 * DeepSeek-R1 has another model rewrite them (arXiv:2501.12948, section 2.3.1); the transcripts of a small base mix words that
 * can be replaced one by one.
 */
export function coldStart(found: readonly Conversation[]): Conversation[] {
  return found.map(({ messages }) => ({
    messages: messages.map((turn) =>
      turn.role === 'assistant' ? { ...turn, content: inEnglish(turn.content) } : turn,
    ),
  }));
}

/** Right answers twice, the one that speaks in a sentence preferred to the bare value: what people find helpful here. */
export function preferencePairs(
  found: readonly Conversation[],
): { prompt: string; chosen: string; rejected: string }[] {
  return found.flatMap(({ messages: [asked, answered] }) => {
    const thought = /<think>(.*)<\/think>/s.exec(answered?.content ?? '')?.[1];
    const value = answerPart(answered?.content ?? '').match(/-?\d+(?=\D*$)/)?.[0];
    if (asked === undefined || thought === undefined || value === undefined) return [];
    const say = (spoken: boolean) => written(thought, value, { tagged: true, spoken });
    return [{ prompt: asked.content, chosen: say(true), rejected: say(false) }];
  });
}

/** Openings of real text, to be gone on with: what a model is asked that has nothing to do with the task. */
export function openings(text: string, most: number): { text: string }[] {
  const paragraphs = text.split(/\n\s*\n/).map((paragraph) => paragraph.replace(/\s+/g, ' ').trim());
  const long = paragraphs.filter((paragraph) => paragraph.length > 120);
  const every = Math.max(Math.floor(long.length / most), 1);
  return long
    .filter((_, i) => i % every === 0)
    .slice(0, most)
    .map((paragraph) => ({ text: paragraph.split(' ').slice(0, 8).join(' ') }));
}

/** The template that has a text gone on with; see the templates of synthesize(). */
export const CONTINUE = {
  prompt: '{{text}}',
  shots: 0,
  stop: ['\n', '<', '='],
  output: 'more',
  messages: [
    { role: 'user', content: '{{text}}' },
    { role: 'assistant', content: ' {{more}}' },
  ],
} as const;
