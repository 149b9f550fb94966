import { createInterface } from 'node:readline/promises';
import { Engine, type GenerateOptions, streamText } from '../../generate/index.js';
import { type ChatTemplate, type Message, renderPrompt } from '../../tokenizer/index.js';
import { print } from '../output.js';
import type { OpenedModel } from './open.js';

/** A conversation on the terminal, until an empty line or the end of input. Ctrl-C ends an answer. */
export async function runChat(
  { model }: OpenedModel,
  template: ChatTemplate,
  options: GenerateOptions & { readonly system?: string | undefined },
): Promise<void> {
  const input = createInterface({ input: process.stdin, output: process.stdout });
  const engine = new Engine(model, { maxBatch: 1 });
  const messages: Message[] = options.system ? [{ role: 'system', content: options.system }] : [];
  try {
    for (;;) {
      const text = (await input.question('> ')).trim();
      if (!text) return;
      messages.push({ role: 'user', content: text });
      messages.push({ role: 'assistant', content: (await answer(engine, template, messages, options)).trim() });
      print();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ABORT_ERR') throw error; // end of input
  } finally {
    input.close();
    engine.dispose();
  }
}

async function answer(
  engine: Engine,
  template: ChatTemplate,
  messages: readonly Message[],
  options: GenerateOptions,
): Promise<string> {
  const { tokenizer, stopIds, stopTexts } = template;
  const prompt = renderPrompt(template, { messages });
  let cancelled = false;
  const cancel = () => {
    cancelled = true;
  };
  process.once('SIGINT', cancel);
  let all = '';
  try {
    const stop = [...(options.stop ?? []), ...stopTexts];
    for await (const { text } of streamText(engine, tokenizer, [...prompt], { ...options, stopIds, stop })) {
      process.stdout.write(text);
      all += text;
      if (cancelled) break;
    }
  } finally {
    process.off('SIGINT', cancel);
  }
  return all;
}
