import { existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { TrainMoeError } from '../../errors.js';
import { folderSink } from '../../hub/byte_sink.js';
import type { GgmlType } from '../../hub/gguf/types.js';
import { disposeModel } from '../../models/codec.js';
import { configOfFolder } from '../../models/folder.js';
import { architectureOf, type GgufWritten, writeModelGguf } from '../../models/gguf/index.js';
import { mergeAdapter } from '../../models/peft.js';
import { countParameters } from '../../nn/param.js';
import { formatBytes, formatCount } from '../../terminal/format.js';
import { openChatTemplate } from '../../tokenizer/index.js';
import { modelFolder } from '../../train/run/model_folder.js';
import { openModel, openTokenizer } from './open.js';
import type { ExportOptions } from './rewrite.js';

const TYPES: Readonly<Record<string, GgmlType>> = { f32: 'F32', bf16: 'BF16', f16: 'F16', q8_0: 'Q8_0' };

/** Writes a model with its vocabulary and chat template as a GGUF file, which appears whole or not at all; returns what to say of it. */
export async function exportGguf({ model: from, out, dtype, adapter }: ExportOptions): Promise<string[]> {
  const type = TYPES[dtype];
  if (!type)
    throw new TrainMoeError(
      'bad-argument',
      `--dtype is "${dtype}"; of a .gguf file it must be ${Object.keys(TYPES).join(', ')}.`,
    );
  if (existsSync(out)) throw new TrainMoeError('bad-argument', `${out} exists already; name a file that does not.`);
  architectureOf(configOfFolder(modelFolder(from))); // refuses before anything is read or made
  const tokenizer = openTokenizer({ model: from });
  const template = await openChatTemplate(tokenizer, { folder: modelFolder(from) });
  const { model, device } = openModel({ model: from, device: 'cpu', dtype: 'f32' });
  const [folder, part] = [dirname(resolve(out)), `${basename(out)}.${process.pid}.part`];
  try {
    if (adapter !== undefined) mergeAdapter(model, adapter, device);
    let written: GgufWritten | undefined;
    folderSink(folder).file(part, (sink) => {
      const name = basename(resolve(from));
      written = writeModelGguf(sink, model, { type, name, tokenizer, template: template.source });
    });
    renameSync(`${folder}/${part}`, out);
    const count = countParameters(model.family.specs(model.config));
    return sentences(
      written!,
      `${out}: ${formatCount(count)} parameters in ${dtype}, ${formatBytes(statSync(out).size)}`,
    );
  } catch (error) {
    rmSync(`${folder}/${part}`, { force: true });
    throw error;
  } finally {
    disposeModel(model);
  }
}

function sentences({ architecture, knownCut, wider }: GgufWritten, what: string): string[] {
  return [
    `Wrote ${what}, as ${architecture}.`,
    ...(wider > 0 ? [`${wider} matrices are f16: their rows are no multiple of 32.`] : []),
    ...(knownCut
      ? []
      : [
          'llama.cpp does not know how text of this vocabulary is changed or cut before merging: what it makes of a text may be other tokens.',
        ]),
  ];
}
