import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { Engine, streamText, type TextOptions } from '../../generate/index.js';
import { check, resolveOptions } from '../../generate/options.js';
import { contextOf } from '../../models/family.js';
import type { ChatTemplate, Message } from '../../tokenizer/index.js';
import { advising } from '../../train/fit.js';
import { remember } from './conversation.js';
import { chatChoices, chatEngine } from './fit.js';
import type { OpenedModel } from './open.js';

/** Tokens of a conversation that are kept, where no other number is asked for and the model reads so many. */
const CONTEXT = 16_384;

export interface ChatOptions extends TextOptions {
  /** Instructions that come first, and stay. */
  readonly system?: string | undefined;
  /** Tokens of the conversation that the model is given, its answer included; what the model reads is the most. */
  readonly context?: number | undefined;
}

/** Where a conversation is held. */
export interface Terminal {
  readonly input: Readable;
  readonly output: Writable;
}

/**
 * A conversation on the terminal, or with lines from a pipe, until an empty line or the end of input. Ctrl-C ends an answer,
 * and between answers the conversation. What is longer than the context is forgotten from its beginning.
 * @throws TrainMoeError `bad-argument` on options out of range, `out-of-memory` with flags that would fit
 */
export async function runChat(
  { model, device }: OpenedModel,
  template: ChatTemplate,
  options: ChatOptions,
  terminal: Terminal = { input: process.stdin, output: process.stdout },
): Promise<void> {
  const { maxTokens } = resolveOptions(options);
  const asked = options.context ?? CONTEXT;
  check('context', asked, Number.isInteger(asked) && asked > 1, 'a whole number above 1');
  const context = Math.min(asked, contextOf(model));
  await advising(
    device,
    () => chatChoices(model, context),
    async () => {
      const engine = new Engine(model, chatEngine(context));
      try {
        await converse(engine, template, { ...options, context, maxTokens }, terminal);
      } finally {
        engine.dispose();
      }
    },
  );
}

type Sized = ChatOptions & { readonly context: number; readonly maxTokens: number };

async function converse(engine: Engine, template: ChatTemplate, options: Sized, { input, output }: Terminal) {
  const { system, context, maxTokens } = options;
  const room = context - Math.min(maxTokens, Math.floor(context / 2)); // the rest is for the answer
  const lines = createInterface({ input, output, prompt: '> ' });
  let messages: readonly Message[] = system ? [{ role: 'system', content: system }] : [];
  let answering: AbortController | undefined;
  lines.on('SIGINT', () => (answering ? answering.abort() : lines.close()));
  const given = lines[Symbol.asyncIterator](); // keeps what arrives while an answer is written
  try {
    for (;;) {
      lines.prompt();
      const { value, done } = await given.next();
      if (done || value.trim() === '') return;
      const all: readonly Message[] = [...messages, { role: 'user', content: value.trim() }];
      const kept = remember(template, all, room);
      if (!kept) {
        output.write(
          `(This is longer than the ${room} tokens that there is room for; say less, or raise --context.)\n`,
        );
        continue;
      }
      if (kept.messages.length < all.length)
        output.write(
          `(Forgotten, to stay within ${context} tokens: the oldest ${all.length - kept.messages.length} messages.)\n`,
        );
      answering = new AbortController();
      const said = await answer(engine, template, kept.prompt, options, answering.signal, output);
      answering = undefined;
      messages = [...kept.messages, { role: 'assistant', content: said.trim() }];
      output.write('\n');
    }
  } finally {
    lines.close();
  }
}

async function answer(
  engine: Engine,
  { tokenizer, stopIds, stopTexts }: ChatTemplate,
  prompt: readonly number[],
  { context, ...options }: Sized,
  cancelled: AbortSignal,
  output: Writable,
): Promise<string> {
  const stop = [...(options.stop ?? []), ...stopTexts];
  const maxTokens = Math.min(options.maxTokens, context - prompt.length);
  let all = '';
  for await (const { text } of streamText(engine, tokenizer, prompt, { ...options, maxTokens, stopIds, stop })) {
    output.write(text);
    all += text;
    if (cancelled.aborted) break;
  }
  return all;
}
