import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { checkSettings } from '../../config/settings.js';
import { TrainMoeError } from '../../errors.js';
import { type Row, readRows } from '../tasks/rows.js';
import type { Turn } from './curate.js';

/** Values that fill a template. */
export type Fields = Readonly<Record<string, unknown>>;

const schema = z.strictObject({
  /** `{{name}}` stands for a field of a seed, `{{examples}}` for the rendered examples. */
  prompt: z.string().min(1),
  /** One example, rendered from fields of its own. */
  example: z.string().optional(),
  examples: z.array(z.record(z.string(), z.unknown())).optional(),
  /** Examples in a prompt, where there are any. */
  shots: z.int().min(0).default(3),
  /** Texts that end a completion. */
  stop: z.array(z.string().min(1)).default([]),
  /** The name under which the completion becomes a field. */
  output: z.string().min(1),
  messages: z.array(z.strictObject({ role: z.enum(['system', 'user', 'assistant']), content: z.string() })).min(1),
});

/** How a prompt is made of a seed, and a conversation of the completion. */
export interface PromptTemplate extends z.output<typeof schema> {
  readonly name: string;
}

const builtIn: Readonly<Record<string, z.input<typeof schema>>> = {
  /** New questions like those of the seeds (Self-Instruct, arXiv:2212.10560); they are seeds of "answer" in their turn. */
  question: {
    prompt: 'A list of questions, each about something else than the others.\n\n{{examples}}Question:',
    example: 'Question: {{question}}\n\n',
    shots: 4,
    stop: ['\n'],
    output: 'question',
    messages: [{ role: 'user', content: '{{question}}' }],
  },
  answer: {
    prompt: '{{examples}}Question: {{question}}\nAnswer:',
    example: 'Question: {{question}}\nAnswer: {{answer}}\n\n',
    stop: ['\nQuestion:'],
    output: 'answer',
    messages: [
      { role: 'user', content: '{{question}}' },
      { role: 'assistant', content: '{{answer}}' },
    ],
  },
  rewrite: {
    prompt: '{{examples}}Text: {{text}}\n\nThe same text in other, plainer words: ',
    example: 'Text: {{text}}\n\nThe same text in other, plainer words: {{rewrite}}\n\n',
    stop: ['\n\n'],
    output: 'rewrite',
    messages: [
      { role: 'user', content: 'Put this text into other, plainer words.\n\n{{text}}' },
      { role: 'assistant', content: '{{rewrite}}' },
    ],
  },
  summary: {
    prompt: '{{examples}}Text: {{text}}\n\nA summary of the text in one or two sentences: ',
    example: 'Text: {{text}}\n\nA summary of the text in one or two sentences: {{summary}}\n\n',
    stop: ['\n\n'],
    output: 'summary',
    messages: [
      { role: 'user', content: 'Sum this text up in one or two sentences.\n\n{{text}}' },
      { role: 'assistant', content: '{{summary}}' },
    ],
  },
};

/** A built-in template, or that of a JSON file. @throws TrainMoeError for one that does not exist or is none */
export function openTemplate(name: string): PromptTemplate {
  if (Object.hasOwn(builtIn, name)) return { name, ...schema.parse(builtIn[name]) };
  if (!name.endsWith('.json') || !existsSync(name))
    throw new TrainMoeError(
      name.endsWith('.json') ? 'not-found' : 'bad-config',
      `There is no template ${name}; the built-in ones are ${Object.keys(builtIn).join(', ')}, and a path that ends in .json names your own.`,
    );
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(name, 'utf8'));
  } catch (cause) {
    throw new TrainMoeError('bad-data', `The template ${name} cannot be read: ${(cause as Error).message}.`, { cause });
  }
  const template = { name, ...checkSettings(schema, value, `the template ${name}`) };
  const made = template.messages.flatMap(({ content }) => variablesOf(content));
  if (!made.includes(template.output))
    throw new TrainMoeError(
      'bad-config',
      `The template ${name} has no {{${template.output}}} in its messages, so the completions would be lost.`,
    );
  return template;
}

const VARIABLE = /\{\{\s*([\w.-]+)\s*\}\}/g;

/** Names between `{{` and `}}`. */
export const variablesOf = (text: string): string[] => [...text.matchAll(VARIABLE)].map(([, name]) => name!);

/** Puts values in their places; what a value holds is not looked through again. */
export const fill = (text: string, fields: Fields): string => text.replace(VARIABLE, (_, name) => String(fields[name]));

export const fillTurns = ({ messages }: PromptTemplate, fields: Fields): Turn[] =>
  messages.map(({ role, content }) => ({ role, content: fill(content, fields) }));

/** True where all variables of the texts have a value. */
export const hasAll = (fields: Fields, ...texts: readonly string[]): boolean =>
  texts.flatMap(variablesOf).every((name) => isValue(fields[name]));

const isValue = (value: unknown): boolean => typeof value === 'string' || typeof value === 'number';

/**
 * The rows of a JSON Lines file as fields; those of a line that synthesis wrote lie in its `fields`.
 * @throws TrainMoeError `bad-data` naming the first line that lacks a variable of the texts
 */
export function readFields(file: string, needed: readonly string[], what: string): Fields[] {
  return readRows(file, what).map(({ place, fields: row }: Row) => {
    const fields = typeof row.fields === 'object' ? { ...row.fields, ...row } : row;
    const missing = needed.find((name) => !isValue((fields as Fields)[name]));
    if (missing === undefined) return fields as Fields;
    throw new TrainMoeError(
      'bad-data',
      `${place}: the template needs the field "${missing}" as a text or number; the line has ${Object.keys(row).join(', ')}.`,
    );
  });
}
