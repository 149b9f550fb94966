import type { Tokenizer } from '../tokenizer/index.js';
import type { Engine } from './engine.js';
import type { TextOptions } from './options.js';
import { firstStop, shown, type TextPiece, TextPieces } from './pieces.js';

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
  const pieces = new TextPieces(tokenizer, stops);
  try {
    while (!pieces.finished) {
      const came = take();
      if (came.length === 0) engine.step();
      for (const event of came.length > 0 ? came : take()) {
        const piece = pieces.push(event);
        if (piece) yield piece;
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
