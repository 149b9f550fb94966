import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { folderSink } from '../../../src/hub/byte_sink.js';
import { writeModelFolder } from '../../../src/hub/folder.js';
import { createModel, parametersOf } from '../../../src/models/codec.js';
import { deepseekV3 } from '../../../src/models/deepseek_v3.js';
import type { Family } from '../../../src/models/family.js';
import { modelContent } from '../../../src/models/folder.js';
import { llama } from '../../../src/models/llama.js';
import { device } from '../../../src/tensor/index.js';
import { trainBpe } from '../../../src/tokenizer/index.js';
import { fitLength, resolveSft, type SftInput, type SftSettings } from '../../../src/train/sft/config.js';
import { tinyHub } from '../../tiny_models.js';

/** A Hugging Face folder with a model of two layers and a tokenizer of single bytes; returns its path. */
export async function tinyFolder(path: string, kind: 'dense' | 'experts' = 'dense'): Promise<string> {
  async function* texts() {
    yield 'one and two are three\n';
  }
  const tokenizer = await trainBpe(texts(), { vocabSize: 264, specialTokens: ['<|endoftext|>'] });
  const family = (kind === 'dense' ? llama : deepseekV3) as unknown as Family;
  const config = family.fromHub({ ...tinyHub(kind), vocab_size: tokenizer.vocabSize, max_position_embeddings: 256 });
  const model = createModel(family, config, { device: device('cpu'), dtype: 'f32', seed: 3, train: false });
  writeModelFolder(folderSink(path), modelContent(model, { dtype: 'f32' }));
  tokenizer.save(path);
  for (const { tensor } of parametersOf(model)) tensor.dispose();
  return path;
}

/** Questions about letters, each with its answer: 24 conversations in one file. */
export function tinyData(folder: string): string {
  const path = join(folder, 'data.jsonl');
  const lines = Array.from({ length: 24 }, (_, i) => {
    const letter = String.fromCharCode(97 + i);
    const turn = (role: string, content: string) => ({ role, content });
    const more = i % 3 === 0 ? [turn('user', 'again'), turn('assistant', letter)] : [];
    return JSON.stringify({ messages: [turn('user', `say ${letter}`), turn('assistant', `${letter}!`), ...more] });
  });
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}

/** A run of a second: two epochs over the data in rows of 128 positions. */
export function tinySft(settings: SftInput): SftSettings {
  const config = resolveSft({
    device: 'cpu',
    epochs: 2,
    rows: 2,
    length: 128,
    lr: 1e-2,
    validation: 0.2,
    saveEvery: 2,
    tensorboard: false,
    ...settings,
  });
  return fitLength(config, Number.POSITIVE_INFINITY);
}
