import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type FolderSink, writeText } from '../../hub/byte_sink.js';
import type { TextTokenizer } from '../../tokenizer/index.js';

const TEMPLATE = 'chat_template.jinja';

/**
 * Writes what a model folder has of its tokenizer: `tokenizer.json`, `tokenizer_config.json`, and `chat_template.jinja` when
 * one is given or stands beside the file that the tokenizer was loaded from.
 * @param end the token that ends an answer, where it is another than the tokenizer's end token
 */
export function writeTokenizerFiles(
  folder: FolderSink,
  tokenizer: TextTokenizer,
  { template, end }: { readonly template?: string | undefined; readonly end?: string | undefined } = {},
): void {
  const { chat_template: configured, ...config } = tokenizer.configJson();
  const beside = template ?? templateBeside(tokenizer.source);
  writeText(folder, 'tokenizer.json', JSON.stringify(tokenizer.toJson()));
  const kept = beside === undefined && configured !== undefined ? { chat_template: configured } : {};
  const written = { ...config, ...kept, ...(end !== undefined && { eos_token: end }) };
  writeText(folder, 'tokenizer_config.json', `${JSON.stringify(written, null, 2)}\n`);
  if (beside !== undefined) writeText(folder, TEMPLATE, beside);
}

function templateBeside(source: string): string | undefined {
  if (!existsSync(source)) return undefined;
  const path = join(statSync(source).isDirectory() ? source : dirname(source), TEMPLATE);
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}
