import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ioError } from '../hub/io_error.js';
import type { AddedToken } from './added.js';
import { lettersOf } from './letters.js';
import type { TokenizerParts } from './parts.js';
import type { PreTokenizerJson } from './patterns.js';
import { tokenBytes } from './vocabulary.js';

/** A `tokenizer.json` of Hugging Face with a byte-level BPE model. */
export interface TokenizerJson {
  readonly version: string;
  readonly truncation: unknown;
  readonly padding: unknown;
  readonly added_tokens: readonly AddedToken[];
  readonly normalizer: unknown;
  readonly pre_tokenizer: PreTokenizerJson;
  readonly post_processor: unknown;
  readonly decoder: unknown;
  readonly model: {
    readonly type: 'BPE';
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly string[];
    readonly ignore_merges: boolean;
    readonly [key: string]: unknown;
  };
}

/** The `tokenizer.json` of a tokenizer. */
export function toJson(parts: TokenizerParts): TokenizerJson {
  const { added, preTokenizer, normalForms, extra = {}, model } = parts;
  const normalizers = normalForms.map((type) => ({ type }));
  return {
    version: '1.0',
    truncation: extra.truncation ?? null,
    padding: extra.padding ?? null,
    added_tokens: added,
    normalizer: extra.normalizer ?? (normalizers.length === 0 ? null : { type: 'Sequence', normalizers }),
    pre_tokenizer: preTokenizer.json,
    post_processor: extra.post_processor ?? null,
    decoder: extra.decoder ?? { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: model.ignoreMerges,
      vocab: vocabOf(parts),
      merges: mergesOf(parts),
    },
  };
}

/** Spelling to id of every token; added ones are in it as well, which readers take for the same token. */
function vocabOf({ vocabulary, added }: TokenizerParts): Record<string, number> {
  const spelled = new Map(added.map((token) => [token.id, token.content]));
  const out: Record<string, number> = {};
  for (let id = 0; id < vocabulary.size; id++) {
    const bytes = tokenBytes(vocabulary, id);
    if (bytes.length > 0) out[spelled.get(id) ?? lettersOf(bytes)] = id;
  }
  return out;
}

/** "left right" lines in order of rank. Byte letters hold no space. */
function mergesOf({ vocabulary, model }: TokenizerParts): string[] {
  const { left, right, rank } = model.merges;
  const order = Array.from(rank.keys()).sort((a, b) => rank[a]! - rank[b]! || a - b);
  const spell = (id: number): string => lettersOf(tokenBytes(vocabulary, id));
  return order.map((m) => `${spell(left[m]!)} ${spell(right[m]!)}`);
}

/** Writes `tokenizer.json` (and, into a folder, `tokenizer_config.json`); each file appears whole or not at all. */
export function saveTokenizer(json: object, config: object, path: string): void {
  const content = JSON.stringify(json);
  const single = path.endsWith('.json');
  writeWhole(single ? path : join(path, 'tokenizer.json'), content);
  if (!single) writeWhole(join(path, 'tokenizer_config.json'), `${JSON.stringify(config, null, 2)}\n`);
}

/** The `tokenizer_config.json` of a tokenizer. */
export function configOf({
  config,
  roles,
  added,
}: Pick<TokenizerParts, 'config' | 'roles' | 'added'>): Record<string, unknown> {
  const contents = new Map(added.map((token) => [token.id, token.content]));
  const named = Object.entries(roles).map(([role, id]) => [`${role}_token`, contents.get(id as number)]);
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    clean_up_tokenization_spaces: false,
    ...Object.fromEntries(named),
    ...config,
  };
}

function writeWhole(path: string, content: string): void {
  const draft = `${path}.${process.pid}.part`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(draft, content);
    renameSync(draft, path);
  } catch (cause) {
    if (existsSync(draft)) rmSync(draft);
    throw ioError('write', path, cause);
  }
}
