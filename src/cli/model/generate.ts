import { decodeCompletion, Engine, endIds, promptIds, streamText, type TextOptions } from '../../generate/index.js';
import type { RequestSize } from '../../generate/memory.js';
import { resolveOptions } from '../../generate/options.js';
import type { LoadedModel } from '../../models/folder.js';
import type { Tokenizer } from '../../tokenizer/index.js';
import { advising } from '../../train/fit.js';
import { cacheTokensFor, sampleChoices } from './fit.js';
import type { OpenedModel } from './open.js';

export interface Generated {
  readonly prompt: string;
  readonly text: string;
  readonly finish: string;
  readonly tokens: number;
  readonly tokensPerSecond: number;
}

/** `count` completions of a prompt, all at once. @throws TrainMoeError `out-of-memory` with flags that would fit */
export function generateTexts(
  { model, device }: OpenedModel,
  tokenizer: Tokenizer,
  prompt: string,
  options: TextOptions,
): Generated[] {
  const ids = promptIds(tokenizer, prompt);
  const size = resolveOptions(options);
  const choices = () => sampleChoices(model, ids.length, size);
  return advising(device, choices, () =>
    withEngine(model, ids, size, (engine) => {
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
    }),
  );
}

/** Writes a prompt, once the first piece of its completion is there, and the completion as it is generated. */
export async function writeStream(
  { model, device }: OpenedModel,
  tokenizer: Tokenizer,
  prompt: string,
  options: TextOptions,
  write: (text: string) => void,
): Promise<void> {
  const ids = promptIds(tokenizer, prompt);
  const size = { ...resolveOptions(options), count: 1 };
  const choices = () => sampleChoices(model, ids.length, size);
  await advising(device, choices, () =>
    withEngine(model, ids, size, async (engine) => {
      let before = prompt;
      for await (const { text } of streamText(engine, tokenizer, ids, options)) {
        write(before + text);
        before = '';
      }
    }),
  );
}

/** Runs `body` with an engine for completions of one prompt, which lives until it, or what it promises, has ended. */
function withEngine<T>(model: LoadedModel, ids: readonly number[], size: RequestSize, body: (engine: Engine) => T): T {
  const engine = new Engine(model, {
    cacheTokens: cacheTokensFor(model, ids.length, size),
    maxBatch: Math.max(size.count, 1),
  });
  let result: T;
  try {
    result = body(engine);
  } catch (error) {
    engine.dispose();
    throw error;
  }
  if (result instanceof Promise) return result.finally(() => engine.dispose()) as T;
  engine.dispose();
  return result;
}
