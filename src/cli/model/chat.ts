import { createInterface } from 'node:readline/promises';
import { Engine, endIds, type GenerateOptions, streamText } from '../../generate/index.js';
import type { Tokenizer } from '../../tokenizer/index.js';
import { print } from '../output.js';
import type { OpenedModel } from './open.js';

export interface Turn {
  readonly role: 'user' | 'assistant';
  readonly text: string;
}

/** DeepSeek-V3's turns, where the vocabulary has their marks; else the plain `User:` / `Assistant:` of V2. */
export function conversationIds(
  tokenizer: Tokenizer,
  turns: readonly Turn[],
  system = '',
): { readonly ids: number[]; readonly stop: readonly string[] } {
  const [user, assistant] = [tokenizer.idOf('<｜User｜>'), tokenizer.idOf('<｜Assistant｜>')];
  const start = tokenizer.bosId === undefined ? [] : [tokenizer.bosId];
  const text = (s: string) => [...tokenizer.encode(s)];
  const end = endIds(tokenizer).slice(0, 1);
  if (user === undefined || assistant === undefined) {
    const lines = turns
      .map(({ role, text: t }) => (role === 'user' ? `User: ${t}\n\n` : `Assistant: ${t}\n\n`))
      .join('');
    return {
      ids: [...start, ...text(`${system ? `${system}\n\n` : ''}${lines}Assistant:`)],
      stop: ['\n\nUser:', 'User:'],
    };
  }
  const said = turns.flatMap(({ role, text: t }) =>
    role === 'user' ? [user, ...text(t)] : [assistant, ...text(t), ...end],
  );
  return { ids: [...start, ...text(system), ...said, assistant], stop: [] };
}

/** A conversation on the terminal, until an empty line or the end of input. Ctrl-C ends an answer. */
export async function runChat(
  { model }: OpenedModel,
  tokenizer: Tokenizer,
  options: GenerateOptions & { readonly system?: string | undefined },
): Promise<void> {
  const input = createInterface({ input: process.stdin, output: process.stdout });
  const engine = new Engine(model, { maxBatch: 1 });
  const turns: Turn[] = [];
  try {
    for (;;) {
      const text = (await input.question('> ')).trim();
      if (!text) return;
      turns.push({ role: 'user', text });
      turns.push({ role: 'assistant', text: await answer(engine, tokenizer, turns, options) });
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
  tokenizer: Tokenizer,
  turns: readonly Turn[],
  options: GenerateOptions & { readonly system?: string | undefined },
): Promise<string> {
  const { ids, stop } = conversationIds(tokenizer, turns, options.system);
  let cancelled = false;
  const cancel = () => {
    cancelled = true;
  };
  process.once('SIGINT', cancel);
  let all = '';
  try {
    for await (const { text } of streamText(engine, tokenizer, ids, {
      ...options,
      stop: [...(options.stop ?? []), ...stop],
    })) {
      process.stdout.write(text);
      all += text;
      if (cancelled) break;
    }
  } finally {
    process.off('SIGINT', cancel);
  }
  return all;
}
