import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IdBuffer } from '../../src/tokenizer/encoder.js';
import { readSubwordJson } from '../../src/tokenizer/subword/read.js';
import { Trie } from '../../src/tokenizer/subword/trie.js';
import { unigram } from '../../src/tokenizer/subword/unigram.js';
import { wordPiece } from '../../src/tokenizer/subword/wordpiece.js';
import { bertJson, xlnetJson } from './subword_files.js';
import { anyText, wellFormed } from './texts.js';

const bert = (tokens: readonly string[], normalizer = {}, model = {}) =>
  readSubwordJson(bertJson(tokens, normalizer, model), 'bert.json');
const xlnet = (tokens: Readonly<Record<string, number>>) => readSubwordJson(xlnetJson(tokens), 'xlnet.json');
type Tok = ReturnType<typeof bert>;
const spelled = (tokenizer: Tok, text: string, allowSpecial = false): string =>
  Array.from(tokenizer.encode(text, { allowSpecial }), (id) => tokenizer.tokenOf(id)).join(' ');

describe('WordPiece', () => {
  const tokens = ['a', 'b', '##c', '中', '!', 'ab', 'i', '##n', '##ing', '##g', 'σ', '##σ', 'é', '.', "'", 's'];
  const uncased = bert(tokens);

  it('takes the longest token from the left, with the prefix inside a word', () => {
    expect(spelled(uncased, 'Á bC 中! abc')).toBe('a b ##c 中 ! ab ##c');
    expect(spelled(uncased, 'ing')).toBe('i ##n ##g');
    expect(spelled(uncased, 'aing')).toBe('a ##ing');
    expect(spelled(uncased, 'ing inga')).toBe('i ##n ##g [UNK]'); // no ##a: all of the word is unknown
  });

  it('cleans, spaces ideographs, strips accents and lowercases character by character', () => {
    expect(spelled(uncased, 'a\u0000\u200d\ufffdb a\u0085b a\u2028b a\tb')).toBe('ab ab a b a b');
    expect(spelled(uncased, 'ΣΣ a\u0301 E\u0301')).toBe('σ ##σ a [UNK]');
    expect(spelled(uncased, 'b中b')).toBe('b 中 b');
    expect(spelled(uncased, 'a\u2e17b a$b')).toBe('a [UNK] b a [UNK] b');
    const cased = bert(tokens, { lowercase: false });
    expect(spelled(cased, 'A a é e\u0301')).toBe('[UNK] a é [UNK]');
    expect(spelled(bert(tokens, { lowercase: false, strip_accents: true }), 'Á á é')).toBe('[UNK] a [UNK]');
    expect(spelled(bert(tokens, { strip_accents: false }), 'É É')).toBe('é é');
    expect(spelled(bert(tokens, { handle_chinese_chars: false }), 'b中b')).toBe('[UNK]');
    expect(spelled(bert(tokens, { clean_text: false }), 'a\u200db')).toBe('[UNK]');
  });

  it('has one unknown token for a word of more than 100 code points', () => {
    const long = bert(['𐐨', '##𐐨', 'x', '##x']);
    for (const letter of ['x', '𐐨']) {
      expect(long.encode(letter.repeat(100))).toHaveLength(100);
      expect(spelled(long, letter.repeat(101))).toBe('[UNK]');
    }
    expect(spelled(bert(['x', '##x'], {}, { max_input_chars_per_word: 2 }), 'xx xxx')).toBe('x ##x [UNK]');
  });

  it('gives what a plain search through the vocabulary gives', () => {
    const pieces = fc.uniqueArray(fc.stringMatching(/^(##)?[aé中]{1,4}$/), { maxLength: 12 });
    const word = fc.stringMatching(/^[aé中]{1,12}$/);
    fc.assert(
      fc.property(pieces, word, (vocab, text) => {
        const own = bert(vocab, { lowercase: false, handle_chinese_chars: false });
        expect(spelled(own, text)).toBe((longest(new Set(vocab), text) ?? ['[UNK]']).join(' '));
      }),
      { numRuns: 500 },
    );
  });

  it('decodes to words, mending spaces token by token', () => {
    const ids = uncased.encode("aing ab. 's");
    expect(uncased.decode(ids)).toBe("aing ab. ' s");
    const raw = readSubwordJson({ ...bertJson(tokens), decoder: { type: 'WordPiece', cleanup: false } }, 'x.json');
    expect(raw.decode(ids)).toBe("aing ab . ' s");
    const none = readSubwordJson({ ...bertJson(tokens), decoder: null }, 'x.json');
    expect(none.decode(uncased.encode('abc'))).toBe('ab ##c');
    expect(uncased.decode([7, 5])).toBe('##c a'); // the first token keeps its prefix
  });
});

/** The pieces of a word by the definition, or undefined where it has none. */
function longest(vocab: ReadonlySet<string>, word: string): string[] | undefined {
  const out: string[] = [];
  for (let at = 0; at < word.length; ) {
    let end = word.length;
    while (end > at && !vocab.has((at > 0 ? '##' : '') + word.slice(at, end))) end--;
    if (end === at) return undefined;
    out.push((at > 0 ? '##' : '') + word.slice(at, end));
    at = end;
  }
  return out;
}

describe('Unigram', () => {
  it('takes the way with the greatest sum of scores', () => {
    const tokenizer = xlnet({ '▁': -1, a: -2, b: -2, ab: -3, '▁ab': -5, bb: -2.5 });
    expect(spelled(tokenizer, 'ab')).toBe('▁ ab'); // -4, against -5 of ▁ab and of ▁ a b
    expect(spelled(tokenizer, 'abb')).toBe('▁ a bb');
    expect(spelled(tokenizer, ' ab\n\tab ')).toBe('▁ ab ▁ ab');
    expect(spelled(tokenizer, ' \u3000\n')).toBe('');
    expect(spelled(tokenizer, '▁ab a▁b')).toBe('▁ ab ▁ a ▁ b');
    expect(tokenizer.decode(tokenizer.encode('ab ab'))).toBe('ab ab');
  });

  it('has one unknown token for neighbours that no token covers', () => {
    const tokenizer = xlnet({ '▁': -1, a: -2, é: -3 });
    expect(spelled(tokenizer, 'xyza𐐨x x')).toBe('▁ <unk> a <unk> ▁ <unk>');
    expect(spelled(tokenizer, 'é')).toBe('▁ é');
    expect(spelled(tokenizer, 'a\ud800a')).toBe('▁ a <unk> a');
  });

  it('finds no way better than those of an exhaustive search', () => {
    const vocab = fc.dictionary(fc.stringMatching(/^▁?[ab中]{1,3}$/), fc.integer({ min: -40, max: -1 }), {
      maxKeys: 12,
    });
    fc.assert(
      fc.property(vocab, fc.stringMatching(/^[ab中]{1,9}$/), (scores, text) => {
        const all: Readonly<Record<string, number>> = { '▁': -20, ...scores };
        const unknown = Math.min(...Object.values(all)) - 10;
        const tokenizer = xlnet(all);
        const found = Array.from(tokenizer.encode(text), (id) => tokenizer.tokenOf(id)).filter(
          (one) => one !== '<unk>',
        );
        const unknowns = text.length + 1 - found.join('').length;
        const sum = found.reduce((total, token) => total + all[token]!, unknowns * unknown);
        expect(sum).toBe(bestSum(all, unknown, `▁${text}`));
      }),
      { numRuns: 500 },
    );
  });

  it('says which character it has no token for', () => {
    const json = xlnetJson({ a: -1, '▁': -1 });
    const tokenizer = readSubwordJson({ ...json, model: { ...(json.model as object), unk_id: null } }, 'x.json');
    expect(tokenizer.encode('a')).toHaveLength(2);
    expect(() => tokenizer.encode('a中')).toThrow('x.json: the text has "中", for which the vocabulary has no token');
  });
});

/** The greatest sum of scores of all ways to cut the text; a character alone may be unknown. */
function bestSum(scores: Readonly<Record<string, number>>, unknown: number, text: string): number {
  if (text === '') return 0;
  const ways = [];
  for (let end = 1; end <= text.length; end++) {
    const score = scores[text.slice(0, end)] ?? (end === 1 ? unknown : undefined);
    if (score !== undefined) ways.push(score + bestSum(scores, unknown, text.slice(end)));
  }
  return Math.max(...ways);
}

describe('special tokens', () => {
  const tokenizer = xlnet({ '▁': -1, a: -1, '<': -3, '>': -3, mask: -4, sep: -4 });

  it('are text unless asked for', () => {
    expect(spelled(tokenizer, 'a <sep> <mask>')).toBe('▁ a ▁ < sep > ▁ < mask >');
    expect(spelled(tokenizer, 'a <sep> <mask>', true)).toBe('▁ a <sep> <mask>'); // <mask> takes the space before it
    const some = tokenizer.encode('a <sep> <mask>', { allowSpecial: new Set(['<sep>']) });
    expect(Array.from(some, (id) => tokenizer.tokenOf(id)).join(' ')).toBe('▁ a <sep> ▁ < mask >');
  });

  it('have roles, and can be left out of the text', () => {
    expect([tokenizer.unkId, tokenizer.sepId, tokenizer.clsId, tokenizer.maskId]).toEqual([0, 1, 2, 3]);
    expect([tokenizer.bosId, tokenizer.eosId, tokenizer.padId]).toEqual([undefined, undefined, undefined]);
    const { ids } = tokenizer.withSpecials(tokenizer.encode('a'));
    expect(tokenizer.decode(ids)).toBe('a<sep><cls>');
    expect(tokenizer.decode(ids, { skipSpecial: true })).toBe('a');
    expect(tokenizer.isSpecial(1) && !tokenizer.isSpecial(4)).toBe(true);
  });

  it('that are normalized are found in normalised text, and those of one word only as such', () => {
    const json = bertJson(['a', 'x', '##y', '[', ']', 'tok']);
    const added = { special: false, single_word: false, lstrip: false, rstrip: false, normalized: true };
    const more = [
      { ...added, id: 20, content: 'Tok Én' },
      { ...added, id: 21, content: 'xy', single_word: true, normalized: false },
    ];
    const own = readSubwordJson({ ...json, added_tokens: [...(json.added_tokens as object[]), ...more] }, 'x.json');
    expect(spelled(own, 'a TOK\nén', true)).toBe('a Tok Én');
    expect(own.decode(own.encode('TOK ÉN', { allowSpecial: true }))).toBe('tok en');
    expect(spelled(own, 'xy xya xy\u200d 𐐨xy', true)).toBe('xy [UNK] x ##y [UNK]');
    expect(own.vocabSize).toBe(22);
    expect(own.isToken(19)).toBe(false);
    expect(() => own.decode([19])).toThrow('Id 19 is no token: this vocabulary leaves it empty');
    expect(() => own.decode([22])).toThrow('ids of this vocabulary are 0 to 21');
    expect(own.decode([19, 5, 99], { skipUnknown: true })).toBe('a');
  });
});

describe('text of any kind', () => {
  const uncased = bert(['a', 'b', '##a', '##b', '1', '##1', '!', "'"]);
  const marked = xlnet({ '▁': -1, a: -2, ab: -3, '1': -2, "'": -2, s: -2 });

  it('is encoded without regard to what was encoded before, and in streams as at once', () => {
    for (const tokenizer of [uncased, marked]) {
      const holds = (list: string[]): void => {
        const together = tokenizer.encodeBatch(list);
        for (const [i, text] of list.entries()) {
          expect(tokenizer.encode(text)).toEqual(together[i]);
          expect(tokenizer.encode(wellFormed(text))).toEqual(together[i]);
          const stream = tokenizer.stream();
          for (let round = 0; round < 2; round++) {
            const parts = Array.from(together[i]!, (id) => stream.push(id));
            expect(parts.join('') + stream.end()).toBe(tokenizer.decode(together[i]!));
          }
        }
      };
      fc.assert(fc.property(fc.array(anyText, { maxLength: 4 }), holds), { numRuns: 200 });
    }
  });

  it('takes work that grows with its length and no faster', () => {
    const letters = Array.from({ length: 6 }, (_, i) => 'a'.repeat(i + 1));
    const trie = new Trie([...letters.map((token, i) => [token, i + 1] as const), ['##a', 7], ['##aaaaaab', 8]]);
    const stepsOf = (length: number): number[] => {
      let steps = 0;
      const counting = {
        step: (node: number, byte: number) => {
          steps++;
          return trie.step(node, byte);
        },
        idAt: (node: number) => trie.idAt(node),
        walk: (text: string) => trie.walk(text),
      };
      const models = [
        wordPiece({ trie: counting, prefix: '##', unkId: 0, maxChars: 1e9 }),
        unigram({ trie: counting, scores: new Float64Array(9).fill(-1), unkId: 0, source: 'x' }),
      ];
      const bytes = new Uint8Array(length).fill(97);
      return models.map((model) => {
        steps = 0;
        model.pieces(undefined).encode(bytes, 0, length, new IdBuffer());
        return steps;
      });
    };
    const [small, large] = [stepsOf(1_000), stepsOf(10_000)];
    for (const [i, steps] of large!.entries()) {
      expect(steps).toBeLessThanOrEqual(10_000 * 8); // the longest way down the tree is 7 or 8 bytes
      expect(steps).toBeLessThan(small![i]! * 10.5);
    }
  });

  it('may be long runs and long texts', () => {
    const plain = bert(['a', '##a', '!'], {}, { max_input_chars_per_word: 1e6 });
    expect(plain.encode('a'.repeat(10_000))).toHaveLength(10_000);
    expect(plain.encode('!'.repeat(10_000))).toHaveLength(10_000);
    expect(plain.encode(' '.repeat(10_000))).toHaveLength(0);
    expect(plain.encode('a '.repeat(400_000))).toHaveLength(400_000); // longer than the shared buffer
    const run = xlnet({ '▁': -1, a: -2, aa: -3.5 }).encode('a'.repeat(10_001));
    expect(run).toHaveLength(5_002);
    expect(marked.encode('中'.repeat(100_000))).toHaveLength(2); // ▁ and one unknown
  });
});
