import { createInterface } from 'node:readline';
import { Engine, streamText, type TextOptions } from '../../generate/index.js';
import { type ChatTemplate, type Message, renderPrompt } from '../../tokenizer/index.js';
import { print } from '../output.js';
import type { OpenedModel } from './open.js';

/**
 * A conversation on the terminal, or with lines from a pipe, until an empty line or the end of input. Ctrl-C ends an answer,
 * and between answers the conversation.
 */
export async function runChat(
  { model }: OpenedModel,
  template: ChatTemplate,
  options: TextOptions & { readonly system?: string | undefined },
): Promise<void> {
  const input = createInterface({ input: process.stdin, output: process.stdout, prompt: '> ' });
  const engine = new Engine(model, { maxBatch: 1 });
  const messages: Message[] = options.system ? [{ role: 'system', content: options.system }] : [];
  let answering: AbortController | undefined;
  input.on('SIGINT', () => (answering ? answering.abort() : input.close()));
  const lines = input[Symbol.asyncIterator](); // keeps what arrives while an answer is written
  try {
    for (;;) {
      input.prompt();
      const { value, done } = await lines.next();
      if (done || value.trim() === '') return;
      messages.push({ role: 'user', content: value.trim() });
      answering = new AbortController();
      const said = await answer(engine, template, messages, options, answering.signal);
      answering = undefined;
      messages.push({ role: 'assistant', content: said.trim() });
      print();
    }
  } finally {
    input.close();
    engine.dispose();
  }
}

async function answer(
  engine: Engine,
  template: ChatTemplate,
  messages: readonly Message[],
  options: TextOptions,
  cancelled: AbortSignal,
): Promise<string> {
  const { tokenizer, stopIds, stopTexts } = template;
  const prompt = [...renderPrompt(template, { messages })];
  const stop = [...(options.stop ?? []), ...stopTexts];
  let all = '';
  for await (const { text } of streamText(engine, tokenizer, prompt, { ...options, stopIds, stop })) {
    process.stdout.write(text);
    all += text;
    if (cancelled.aborted) break;
  }
  return all;
}
