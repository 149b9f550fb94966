import { createHash } from 'node:crypto';
import { type ChatTemplate, openChatTemplate, renderPrompt, type Tokenizer } from '../../tokenizer/index.js';
import type { openGraders } from '../rewards/index.js';
import type { Question } from '../sample.js';
import { draw } from '../tasks/random.js';
import type { SynthesizeConfig } from './config.js';
import { type CurateEnd, type CurateHooks, type Curation, curate } from './curate.js';
import { openPanel } from './panel.js';
import {
  type Fields,
  fill,
  fillTurns,
  hasAll,
  openTemplate,
  type PromptTemplate,
  readFields,
  variablesOf,
} from './templates.js';

/**
 * Prompted generation: a template filled from each seed, with examples that differ from round to round, and the
 * completions that pass the filters and rewards as conversations.
 * @throws TrainMoeError `busy`, or what reading the model, the template and the seeds may bring
 */
export const synthesize = (
  config: SynthesizeConfig,
  hooks: CurateHooks & { readonly open?: typeof openGraders } = {},
): Promise<CurateEnd> => curate(config, (c, tokenizer) => openSynthesis(c, tokenizer, hooks.open), hooks);

/** Rows to show in a prompt. Where they are the seeds, a seed is no example of itself. */
interface Examples {
  readonly rows: readonly Fields[];
  readonly areSeeds: boolean;
}

async function openSynthesis(
  config: SynthesizeConfig,
  tokenizer: Tokenizer,
  open?: typeof openGraders,
): Promise<Curation> {
  const template = openTemplate(config.template);
  const { output, messages } = template;
  const asked = variablesOf(template.prompt).filter((name) => name !== 'examples');
  const kept = messages.flatMap(({ content }) => variablesOf(content)).filter((name) => name !== output);
  const seeds = readFields(config.seeds, [...asked, ...kept], 'The file of seeds');
  const examples = examplesFor(config, template, seeds);
  const names = [...new Set([...asked, ...kept])];
  const chat = config.chat ? await openChatTemplate(tokenizer) : undefined;
  const encode = (prompt: string) => idsOf(prompt, tokenizer, chat);
  const specs = config.reward.map((name) => ({ name }));
  return {
    kind: 'synthesize',
    name: template.name,
    content: {
      template: hashOf({ ...template, name: undefined }), // a file's name is its path
      'file of seeds': hashOf(seeds),
      ...(config.examples !== undefined && { 'file of examples': hashOf(examples.rows) }),
    },
    total: seeds.length * config.rounds,
    question: (index) => questionOf(index, config, template, seeds, examples, encode),
    stop: config.stop.length > 0 ? config.stop : template.stop,
    stopIds: chat?.stopIds,
    panel: await openPanel(config, specs, config.minReward === undefined, open),
    conversation: ({ meta }, text) => {
      const own = Object.fromEntries(names.map((name) => [name, meta![name]]));
      const fields = { ...own, [output]: text.trim() };
      return { messages: fillTurns(template, fields), about: { fields } };
    },
    known: () =>
      seeds.filter((seed) => hasAll(seed, ...messages.map((m) => m.content))).map((s) => fillTurns(template, s)),
  };
}

const hashOf = (value: unknown): string =>
  createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16);

function examplesFor(config: SynthesizeConfig, template: PromptTemplate, seeds: readonly Fields[]): Examples {
  const needed = template.example === undefined ? [] : variablesOf(template.example);
  if (config.examples !== undefined)
    return { rows: readFields(config.examples, needed, 'The file of examples'), areSeeds: false };
  if (template.examples) return { rows: template.examples, areSeeds: false };
  return { rows: seeds.filter((seed) => hasAll(seed, template.example ?? '')), areSeeds: true };
}

function questionOf(
  index: number,
  config: SynthesizeConfig,
  template: PromptTemplate,
  seeds: readonly Fields[],
  { rows, areSeeds }: Examples,
  encode: (prompt: string) => readonly number[],
): Question {
  const seed = seeds[index % seeds.length]!;
  const own = variablesOf(template.prompt).some((name) => name !== 'examples');
  const shown = some(
    rows.filter((row) => !(areSeeds && own && row === seed)),
    config.shots ?? template.shots,
    config.seed,
    index,
  );
  const examples = shown.map((row) => fill(template.example ?? '', row)).join('');
  const prompt = fill(template.prompt, { ...seed, examples });
  const { answer } = seed;
  return {
    index,
    prompt,
    ids: encode(prompt),
    meta: seed,
    ...((typeof answer === 'string' || typeof answer === 'number') && { answer: String(answer) }),
  };
}

/** A base model goes on with the text; a chat model answers it as a turn of the user's. */
const idsOf = (prompt: string, tokenizer: Tokenizer, chat: ChatTemplate | undefined): readonly number[] => [
  ...(chat ? renderPrompt(chat, { messages: [{ role: 'user', content: prompt }] }) : tokenizer.encode(prompt)),
];

/** `count` of the rows, in an order that depends on the seed and the question's number. */
function some(rows: readonly Fields[], count: number, seed: number, index: number): Fields[] {
  const left = [...rows];
  const random = draw(seed, index);
  return Array.from(
    { length: Math.min(count, left.length) },
    () => left.splice(random.integer(0, left.length - 1), 1)[0]!,
  );
}
