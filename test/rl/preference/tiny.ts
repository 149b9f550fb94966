import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { folderSink } from '../../../src/hub/byte_sink.js';
import { writeModelFolder } from '../../../src/hub/folder.js';
import { createModel, parametersOf } from '../../../src/models/codec.js';
import type { Family } from '../../../src/models/family.js';
import { modelContent } from '../../../src/models/folder.js';
import { llama } from '../../../src/models/llama.js';
import { device } from '../../../src/tensor/index.js';
import { byteTokenizer } from '../../tokenizer/chat/tokenizers.js';

/** A folder with a language model of one layer and random weights, over single bytes and an end token. */
export async function tinyFolder(path: string): Promise<string> {
  const tokenizer = await byteTokenizer({ special: ['</s>'], eos: '</s>' });
  const config = llama.fromHub({
    vocab_size: tokenizer.vocabSize,
    hidden_size: 16,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    intermediate_size: 32,
    initializer_range: 0.08,
  });
  const model = createModel(llama as unknown as Family, config, {
    device: device('cpu'),
    dtype: 'f32',
    seed: 3,
    train: false,
  });
  writeModelFolder(folderSink(path), modelContent(model, { dtype: 'f32' }));
  tokenizer.save(join(path, 'tokenizer.json'));
  for (const { tensor } of parametersOf(model)) tensor.dispose();
  return path;
}

/** Letters that depend on the number alone. */
export function word(seed: number, length: number): string {
  let state = seed * 2654435761 + 1;
  return Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return String.fromCharCode(97 + ((state >>> 16) % 20));
  }).join('');
}

/** Pairs of which the better answer has a "z" in it, and nothing else tells them apart. */
export function plantedPairs(count: number): object[] {
  return Array.from({ length: count }, (_, i) => {
    const [a, b] = [word(2 * i, 6), word(2 * i + 1, 6)];
    const at = i % 6;
    return { prompt: `${word(i + 7, 3)}: `, chosen: `${a.slice(0, at)}z${a.slice(at + 1)}`, rejected: b };
  });
}

export function writeLines(path: string, records: readonly object[]): string {
  writeFileSync(path, records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  return path;
}
