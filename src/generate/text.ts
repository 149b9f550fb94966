import type { Tokenizer } from '../tokenizer/index.js';
import type { Engine } from './engine.js';
import type { TextOptions } from './options.js';
import type { FinishReason } from './sequence.js';

/** A piece of text as it is generated; the last one carries why it ended. */
export interface TextPiece {
  readonly text: string;
  readonly finish?: FinishReason;
}

/** A model may sample ids beyond its tokenizer's: vocabularies are padded to round sizes. They stand for nothing. */
const shown = { skipSpecial: true, skipUnknown: true } as const;

/**
 * Generates text piece by piece, from a prompt in text or ids. Pieces end at UTF-8 boundaries, and text that may be the start of a stop string is held
 * back until it is clear. Leaving the loop early cancels the request and frees its cache. Streams of one engine may run side by
 * side: they then share its batches.
 */
export async function* streamText(
  engine: Engine,
  tokenizer: Tokenizer,
  prompt: string | readonly number[],
  { stop: stops = [], ...options }: TextOptions = {},
): AsyncGenerator<TextPiece> {
  const ids = typeof prompt === 'string' ? promptIds(tokenizer, prompt) : prompt;
  const request = engine.submit(ids, { ...options, count: 1, stopIds: options.stopIds ?? endIds(tokenizer) });
  const take = engine.follow(request);
  const decoder = tokenizer.stream(shown);
  let held = '';
  let finished = false;
  try {
    while (!finished) {
      const came = take();
      if (came.length === 0) engine.step();
      for (const event of came.length > 0 ? came : take()) {
        if (finished) break;
        held += event.id === undefined ? '' : decoder.push(event.id);
        if (event.finish) held += decoder.end();
        const cut = firstStop(held, stops);
        if (cut >= 0) {
          finished = true;
          yield { text: held.slice(0, cut), finish: 'stop' };
          continue;
        }
        const ready = event.finish ? held.length : held.length - heldBack(held, stops);
        const text = held.slice(0, ready);
        held = held.slice(ready);
        finished = event.finish !== undefined;
        if (text || finished) yield { text, ...(event.finish && { finish: event.finish }) };
      }
      await new Promise((resolve) => setImmediate(resolve)); // lets the event loop turn: signals, clients that leave
    }
  } finally {
    engine.cancel(request);
  }
}

/** A whole completion as text, without special tokens, cut before the first stop string. */
export function decodeCompletion(tokenizer: Tokenizer, ids: readonly number[], stops: readonly string[] = []): string {
  const text = tokenizer.decode(ids, shown);
  const cut = firstStop(text, stops);
  return cut < 0 ? text : text.slice(0, cut);
}

/** Ids of a prompt. An empty one is the start token, else the one that ends texts, else the first of all. */
export function promptIds(tokenizer: Tokenizer, text: string): number[] {
  const ids = [...tokenizer.encode(text)];
  return ids.length > 0 ? ids : [tokenizer.bosId ?? tokenizer.eosId ?? 0];
}

/** Ids that end a text in this vocabulary. */
export function endIds(tokenizer: Tokenizer): number[] {
  return tokenizer.eosId === undefined ? [] : [tokenizer.eosId];
}

function firstStop(text: string, stops: readonly string[]): number {
  const found = stops.map((s) => text.indexOf(s)).filter((at) => at >= 0);
  return found.length > 0 ? Math.min(...found) : -1;
}

/** Characters at the end of `text` that begin some stop string. */
function heldBack(text: string, stops: readonly string[]): number {
  let most = 0;
  for (const stop of stops)
    for (let n = Math.min(stop.length - 1, text.length); n > most; n--) if (stop.startsWith(text.slice(-n))) most = n;
  return most;
}
