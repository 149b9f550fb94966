import { type FinishReason, type TextPiece, TextPieces, type TokenEvent } from '../generate/index.js';
import type { Tokenizer } from '../tokenizer/index.js';
import type { Driver, Job } from './driver.js';
import type { Asked } from './requests.js';
import { chunksOf, type Delta, framed, type Said, type Token, type Usage, wholeOf } from './shapes.js';
import { Thoughts } from './thoughts.js';

/** One of the completions asked for, while it is written. */
interface Choice extends Said {
  readonly pieces: TextPieces;
  readonly thoughts: Thoughts | undefined;
  reasoning: string | undefined;
  content: string;
  finish: FinishReason | undefined;
  readonly tokens: Token[];
  /** Tokens so far, and the characters of those of which more is told. */
  count: number;
  characters: number;
}

/** How answers are made, beside what is asked. */
export interface Answering {
  readonly driver: Driver;
  readonly tokenizer: Tokenizer;
  /** The model's name as clients know it. */
  readonly name: string;
  /** Answers begin with thoughts. */
  readonly reasoning: boolean;
}

/** An answer that is on its way: `write` is given its pieces when it is a stream. */
export interface Answer {
  /** Resolves with the whole answer; a stream has given all by then. */
  readonly done: Promise<object>;
  /** Tokens so far. */
  usage(): Usage;
  cancel(): void;
}

/**
 * Begins to answer. Prompts are generated side by side; choice p * n + i is completion i of prompt p.
 * @throws TrainMoeError as Driver.submit(); then nothing is generated
 */
export function begin(asked: Asked, how: Answering, write: (chunk: object) => Promise<void>): Answer {
  const jobs: Job[] = [];
  const cancel = () => {
    for (const job of jobs) job.cancel();
  };
  try {
    for (const { ids, maxTokens } of asked.prompts) jobs.push(how.driver.submit(ids, { ...asked.options, maxTokens }));
  } catch (error) {
    cancel();
    throw error;
  }
  const { count } = asked.options;
  const choices = jobs.flatMap((_, p) => Array.from({ length: count }, (_, i) => newChoice(p * count + i, asked, how)));
  const usage = () => usageOf(asked, choices);
  const frame = framed(asked, how.name);
  const follow = async (job: Job, p: number): Promise<void> => {
    for await (const event of job.events) {
      const choice = choices[p * count + event.index]!;
      if (choice.finish) continue;
      const delta = advance(choice, event, asked, how.tokenizer);
      if (choice.finish && !event.finish) job.cancel(event.index); // a stop string: its tokens are over
      if (asked.stream) for (const part of chunksOf(asked, choice.index, delta)) await write(frame(part));
    }
  };
  const all = async (): Promise<object> => {
    try {
      await Promise.all(jobs.map(follow));
    } finally {
      cancel();
    }
    if (asked.stream && asked.usage) await write({ ...frame(), choices: [], usage: usage() });
    return { ...frame(choices.map((choice) => wholeOf(asked, choice))), usage: usage() };
  };
  return { done: all(), usage, cancel };
}

function newChoice(
  index: number,
  { kind, prompts, options, stop }: Asked,
  { tokenizer, reasoning }: Answering,
): Choice {
  const { ids } = prompts[Math.floor(index / options.count)]!;
  const split = reasoning && kind === 'chat';
  const opened = () => tokenizer.decode(ids.slice(-16)).trimEnd().endsWith('<think>');
  return {
    index,
    pieces: new TextPieces(tokenizer, stop),
    thoughts: split ? new Thoughts(opened()) : undefined,
    reasoning: split ? '' : undefined,
    content: '',
    finish: undefined,
    tokens: [],
    count: 0,
    characters: 0,
  };
}

function advance(choice: Choice, event: TokenEvent, { logprobs }: Asked, tokenizer: Tokenizer): Delta {
  const { id, logprob = 0 } = event;
  const piece = choice.pieces.push(event);
  const { reasoning, content } = partOf(choice, piece);
  const tokens = logprobs && id !== undefined && tokenizer.isToken(id) ? [tokenOf(id, logprob, tokenizer)] : [];
  const delta = {
    reasoning,
    content,
    tokens,
    from: choice.characters,
    first: choice.count === 0,
    finish: piece?.finish,
  };
  if (id !== undefined) choice.count++;
  choice.characters += tokens.reduce((sum, { token }) => sum + token.length, 0);
  choice.tokens.push(...tokens);
  if (choice.reasoning !== undefined) choice.reasoning += reasoning;
  choice.content += content;
  choice.finish = piece?.finish;
  return delta;
}

function partOf({ thoughts }: Choice, piece: TextPiece | undefined) {
  const text = piece?.text ?? '';
  return thoughts && piece ? thoughts.push(text, piece.finish !== undefined) : { reasoning: '', content: text };
}

const tokenOf = (id: number, logprob: number, tokenizer: Tokenizer): Token => ({
  token: tokenizer.decode([id]),
  logprob,
  bytes: [...tokenizer.bytesOf(id)],
});

function usageOf({ prompts }: Asked, choices: readonly Choice[]): Usage {
  const prompt = prompts.reduce((sum, { ids }) => sum + ids.length, 0);
  const completion = choices.reduce((sum, { count }) => sum + count, 0);
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
}
