import { decodeCompletion, Engine, endIds, promptIds, streamText, type TextOptions } from '../../generate/index.js';
import type { Tokenizer } from '../../tokenizer/index.js';
import type { OpenedModel } from './open.js';

export interface Generated {
  readonly prompt: string;
  readonly text: string;
  readonly finish: string;
  readonly tokens: number;
  readonly tokensPerSecond: number;
}

/** `count` completions of a prompt, all at once. */
export function generateTexts(
  { model }: OpenedModel,
  tokenizer: Tokenizer,
  prompt: string,
  options: TextOptions,
): Generated[] {
  const ids = promptIds(tokenizer, prompt);
  const count = options.count ?? 1;
  const engine = new Engine(model, {
    cacheTokens: (ids.length + (options.maxTokens ?? 256) + 64) * count,
    maxBatch: Math.max(count, 1),
  });
  try {
    const start = performance.now();
    const [completions] = engine.generate([ids], { ...options, stopIds: endIds(tokenizer) });
    const seconds = (performance.now() - start) / 1000;
    const total = completions!.reduce((n, c) => n + c.ids.length, 0);
    return completions!.map((c) => ({
      prompt,
      text: decodeCompletion(tokenizer, c.ids, options.stop),
      finish: c.finish,
      tokens: c.ids.length,
      tokensPerSecond: total / seconds,
    }));
  } finally {
    engine.dispose();
  }
}

/** Writes a prompt, once the first piece of its completion is there, and the completion as it is generated. */
export async function writeStream(
  { model }: OpenedModel,
  tokenizer: Tokenizer,
  prompt: string,
  options: TextOptions,
  write: (text: string) => void,
): Promise<void> {
  const ids = promptIds(tokenizer, prompt);
  const engine = new Engine(model, { cacheTokens: ids.length + (options.maxTokens ?? 256) + 64, maxBatch: 1 });
  let before = prompt;
  try {
    for await (const { text } of streamText(engine, tokenizer, ids, options)) {
      write(before + text);
      before = '';
    }
  } finally {
    engine.dispose();
  }
}
