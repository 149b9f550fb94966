/** Hand-made `tokenizer.json` files, small enough to be read. */

type Json = Readonly<Record<string, unknown>>;

const special = (content: string, id: number, lstrip = false): Json => ({
  id,
  content,
  single_word: false,
  lstrip,
  rstrip: false,
  normalized: false,
  special: true,
});

const BERT_SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];

/** A BERT file with these tokens after the special ones. */
export function bertJson(tokens: readonly string[], normalizer: Json = {}, model: Json = {}): Json {
  const vocab = [...BERT_SPECIAL, ...tokens];
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: BERT_SPECIAL.map((content, id) => special(content, id)),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
      ...normalizer,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: { type: 'BertProcessing', sep: ['[SEP]', 3], cls: ['[CLS]', 2] },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(vocab.map((token, id) => [token, id])),
      ...model,
    },
  };
}

const text = (id: 'A' | 'B', type_id = 0): Json => ({ Sequence: { id, type_id } });
const token = (id: string, type_id = 0): Json => ({ SpecialToken: { id, type_id } });

/** A file in the manner of XLNet: `<unk>` 0, `<sep>` 1, `<cls>` 2, `<mask>` 3, then these tokens with their scores. */
export function xlnetJson(tokens: Readonly<Record<string, number>>, normalizer: Json | null = null): Json {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: ['<unk>', '<sep>', '<cls>', '<mask>'].map((content, id) => special(content, id, id === 3)),
    normalizer,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [{ type: 'WhitespaceSplit' }, { type: 'Metaspace', replacement: '▁', add_prefix_space: true }],
    },
    post_processor: {
      type: 'TemplateProcessing',
      single: [text('A'), token('<sep>'), token('<cls>', 2)],
      pair: [text('A'), token('<sep>'), text('B', 1), token('<sep>', 1), token('<cls>', 2)],
      special_tokens: {
        '<sep>': { id: '<sep>', ids: [1], tokens: ['<sep>'] },
        '<cls>': { id: '<cls>', ids: [2], tokens: ['<cls>'] },
      },
    },
    decoder: { type: 'Metaspace', replacement: '▁', add_prefix_space: true },
    model: {
      type: 'Unigram',
      unk_id: 0,
      vocab: [['<unk>', 0], ['<sep>', 0], ['<cls>', 0], ['<mask>', 0], ...Object.entries(tokens)],
    },
  };
}

/**
 * A `precompiled_charsmap` (base64) of these replacements: texts that end in NUL, found by a double array of bytes. A unit
 * holds its label in bits 0-7, whether a value follows in bit 8, and in bits 10-30 what its children's places are XORed with;
 * the unit at label 0 holds a value and has bit 31 set.
 */
export function charsmapOf(replacements: Readonly<Record<string, string>>): string {
  const root: Branch = { children: new Map() };
  let texts = '';
  for (const [from, to] of Object.entries(replacements)) {
    let node = root;
    for (const byte of Buffer.from(from)) {
      if (!node.children.has(byte)) node.children.set(byte, { children: new Map() });
      node = node.children.get(byte)!;
    }
    node.value = Buffer.byteLength(texts);
    texts += `${to}\0`;
  }
  const units: number[] = [];
  const place = ({ children, value }: Branch, at: number): void => {
    const base = Math.ceil((units.length + 1) / 256) * 256; // free as a whole: no child of another lies there
    for (let i = units.length; i < base + 256; i++) units.push(0);
    units[at] = (units[at]! | ((base ^ at) << 10) | (value === undefined ? 0 : 0x100)) >>> 0;
    if (value !== undefined) units[base] = (value | 0x80000000) >>> 0;
    for (const label of children.keys()) units[base ^ label] = label;
    for (const [label, child] of children) place(child, base ^ label);
  };
  units.push(0);
  place(root, 0);
  const head = Buffer.alloc(4 + units.length * 4);
  head.writeUInt32LE(units.length * 4, 0);
  for (const [i, unit] of units.entries()) head.writeUInt32LE(unit, 4 + i * 4);
  return Buffer.concat([head, Buffer.from(texts)]).toString('base64');
}

interface Branch {
  readonly children: Map<number, Branch>;
  value?: number;
}
