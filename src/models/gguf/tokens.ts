import { TrainMoeError } from '../../errors.js';
import type { GgufValue } from '../../hub/gguf/write.js';
import { PATTERNS, type PatternName, type Tokenizer } from '../../tokenizer/index.js';
import { toJson } from '../../tokenizer/write.js';

/** How llama.cpp calls the ways of cutting text that it knows. */
const PRE_TOKENIZERS: Readonly<Record<PatternName, string>> = {
  gpt2: 'gpt-2',
  cl100k: 'dbrx',
  o200k: 'gpt-4o',
  llama3: 'llama-bpe',
  qwen2: 'qwen2',
  'deepseek-v3': 'deepseek-v3',
};

/** Kinds of tokens. */
const [NORMAL, CONTROL, USER_DEFINED, UNUSED] = [1, 3, 4, 5] as const;

/** A vocabulary as GGUF has it, and whether llama.cpp makes the same tokens of a text: it changes none before it cuts it. */
export interface GgufTokens {
  readonly settings: Readonly<Record<string, GgufValue>>;
  readonly known: boolean;
}

/**
 * @param size ids of the model, which may be more than the tokenizer has
 * @throws TrainMoeError `bad-argument` when they are fewer
 */
export function ggufTokens(tokenizer: Tokenizer, size: number, template: string | undefined): GgufTokens {
  if (tokenizer.vocabSize > size)
    throw new TrainMoeError(
      'bad-argument',
      `The tokenizer ${tokenizer.source} has ${tokenizer.vocabSize} tokens, but the model only ${size}; give the model's own.`,
    );
  const { vocab, merges } = toJson(tokenizer.parts).model;
  const { added, preTokenizer, normalForms, config } = tokenizer.parts;
  const tokens = Array.from({ length: size }, (_, id) => `[PAD${id}]`);
  const kinds = new Array<number>(size).fill(UNUSED);
  for (const [text, id] of Object.entries(vocab)) {
    tokens[id] = text;
    kinds[id] = NORMAL;
  }
  for (const { id, content, special } of added) {
    tokens[id] = content;
    kinds[id] = special ? CONTROL : USER_DEFINED;
  }
  const name = (Object.keys(PATTERNS) as PatternName[]).find((one) => PATTERNS[one].split === preTokenizer.split);
  const { bosId, eosId, padId } = tokenizer;
  const role = (key: string, id: number | undefined) =>
    id === undefined ? {} : { [`tokenizer.ggml.${key}_token_id`]: { type: 'u32', value: id } as const };
  return {
    known: name !== undefined && !preTokenizer.prefixSpace && normalForms.length === 0,
    settings: {
      'tokenizer.ggml.model': { type: 'string', value: 'gpt2' },
      'tokenizer.ggml.pre': { type: 'string', value: name ? PRE_TOKENIZERS[name] : 'default' },
      'tokenizer.ggml.tokens': { type: 'strings', value: tokens },
      'tokenizer.ggml.token_type': { type: 'i32s', value: kinds },
      'tokenizer.ggml.merges': { type: 'strings', value: merges },
      ...role('bos', bosId),
      ...role('eos', eosId),
      ...role('padding', padId),
      'tokenizer.ggml.add_bos_token': { type: 'bool', value: config?.add_bos_token === true },
      'tokenizer.ggml.add_space_prefix': { type: 'bool', value: preTokenizer.prefixSpace },
      ...(template !== undefined && { 'tokenizer.chat_template': { type: 'string', value: template } as const }),
    },
  };
}
