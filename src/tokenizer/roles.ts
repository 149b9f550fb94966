import type { AddedToken } from './added.js';
import type { Roles } from './parts.js';

/** What released models call these tokens, for files that do not say. */
const NAMES = {
  bos: ['<｜begin▁of▁sentence｜>', '<|begin_of_text|>', '<|begin▁of▁sentence|>', '<s>', '<bos>'],
  eos: ['<｜end▁of▁sentence｜>', '<|end_of_text|>', '<|end▁of▁sentence|>', '<|endoftext|>', '</s>', '<eos>'],
  pad: ['<｜▁pad▁｜>', '<|finetune_right_pad_id|>', '<pad>', '<|pad|>'],
} as const;

/** The roles of added tokens: what `tokenizer_config.json` names, else what released models name alike. */
export function rolesOf(added: readonly AddedToken[], config: Readonly<Record<string, unknown>> = {}): Roles {
  const ids = new Map(added.map((token) => [token.content, token.id]));
  const role = (name: keyof typeof NAMES): number | undefined => {
    const key = `${name}_token`;
    if (config[key] === null) return undefined; // said to have none
    const named = contentOf(config[key]);
    return named !== undefined
      ? ids.get(named)
      : NAMES[name].map((known) => ids.get(known)).find((id) => id !== undefined);
  };
  const found = { bos: role('bos'), eos: role('eos'), pad: role('pad') };
  return Object.fromEntries(Object.entries(found).filter(([, id]) => id !== undefined));
}

/** Config files write a token as its text or as an object with its text. */
function contentOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  const content = (value as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : undefined;
}
