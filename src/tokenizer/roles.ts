import type { AddedToken } from './added.js';
import type { Roles } from './parts.js';

/** What released models call these tokens, for files that do not say. */
const NAMES = {
  bos: ['<｜begin▁of▁sentence｜>', '<|begin_of_text|>', '<|begin▁of▁sentence|>', '<s>', '<bos>'],
  eos: ['<｜end▁of▁sentence｜>', '<|end_of_text|>', '<|end▁of▁sentence|>', '<|endoftext|>', '</s>', '<eos>'],
  pad: ['<｜▁pad▁｜>', '<|finetune_right_pad_id|>', '<pad>', '<|pad|>', '[PAD]'],
  unk: ['[UNK]', '<unk>'],
  mask: ['[MASK]', '<mask>'],
  cls: ['[CLS]', '<cls>'],
  sep: ['[SEP]', '<sep>'],
} as const;

/**
 * The roles of added tokens: what `tokenizer_config.json` names, else what released models name alike. RoBERTa's `<s>` and
 * `</s>` are the `cls` and `sep` of its post-processor.
 */
export function rolesOf(
  added: readonly AddedToken[],
  config: Readonly<Record<string, unknown>> = {},
  postProcessor?: unknown,
): Roles {
  const around = (postProcessor ?? {}) as Readonly<Record<string, unknown>>;
  const ids = new Map(added.map((token) => [token.content, token.id]));
  const role = (name: keyof typeof NAMES): number | undefined => {
    const key = `${name}_token`;
    if (config[key] === null) return undefined; // said to have none
    const named = contentOf(config[key]);
    if (named !== undefined) return ids.get(named);
    const candidates = [...NAMES[name], ...(Array.isArray(around[name]) ? around[name] : [])];
    return candidates.map((known) => ids.get(known)).find((id) => id !== undefined);
  };
  const found = (Object.keys(NAMES) as (keyof typeof NAMES)[]).map((name) => [name, role(name)] as const);
  return Object.fromEntries(found.filter(([, id]) => id !== undefined));
}

/** Config files write a token as its text or as an object with its text. */
export function contentOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  const content = (value as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : undefined;
}
