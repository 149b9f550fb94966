import { createHash } from 'node:crypto';
import { TrainMoeError } from '../../errors.js';
import { AddedSplitter, type AddedToken, type Allowed, isAllowed } from '../added.js';
import { SPACE } from '../classes.js';
import { Encoder, IdBuffer } from '../encoder.js';
import type { Roles } from '../parts.js';
import { applyPostProcessor, type PostProcessor } from '../post_processor.js';
import type { DecodeOptions, Encoded, EncodeOptions, TextStream, TextTokenizer } from '../text_tokenizer.js';
import { Utf8Buffer } from '../utf8.js';
import { configOf, saveTokenizer } from '../write.js';
import type { TokenDecoder } from './decoder.js';
import type { SubwordModel } from './model.js';
import type { Normalizer } from './normalizer.js';
import type { WordSplitter } from './pre_tokenizer.js';

/** All there is to a WordPiece or Unigram tokenizer. */
export interface SubwordParts {
  /** [V] spellings by id, added tokens included; ids may be left out. */
  readonly tokens: readonly (string | undefined)[];
  readonly model: SubwordModel;
  readonly normalizer: Normalizer;
  readonly words: WordSplitter;
  readonly decoder: TokenDecoder;
  readonly postProcessor: PostProcessor;
  readonly added: readonly AddedToken[];
  readonly roles: Roles;
  /** The content of the `tokenizer.json`. */
  readonly json: Readonly<Record<string, unknown>>;
  /** What stood in `tokenizer_config.json`. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Where it came from, for error sentences. */
  readonly source: string;
}

/** What encoding keeps for one choice of allowed special tokens. */
interface Reading {
  readonly splitter: AddedSplitter;
  readonly encoder: Encoder;
}

/**
 * A tokenizer of words: normalizer, pre-tokenizer, and a WordPiece or Unigram model, as BERT, DistilBERT, ALBERT and XLNet have
 * them. Normalising loses text (case, accents, white space), so `decode` gives what the ids say, not the text they were made
 * of. Lone surrogates count as U+FFFD. Not shared between threads.
 */
export class SubwordTokenizer implements TextTokenizer {
  readonly type: 'WordPiece' | 'Unigram';
  readonly source: string;
  readonly vocabSize: number;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly padId: number | undefined;
  readonly unkId: number | undefined;
  readonly maskId: number | undefined;
  readonly clsId: number | undefined;
  readonly sepId: number | undefined;
  readonly addedTokens: ReadonlyMap<string, AddedToken>;

  readonly #idByToken: ReadonlyMap<string, number>;
  readonly #special: ReadonlySet<number>;
  readonly #normalized: ReadonlyMap<number, string>; // what added tokens that are found in normalised text decode to
  readonly #out = new IdBuffer();
  readonly #utf8 = new Utf8Buffer();
  #reading: Reading | undefined;
  readonly #texts: (string | undefined)[] = []; // [V] what a token decodes to that is not the first
  #fingerprint: string | undefined;

  constructor(readonly parts: SubwordParts) {
    const { model, tokens, added, roles, source } = parts;
    this.type = model.type;
    this.source = source;
    this.vocabSize = tokens.length;
    this.bosId = roles.bos;
    this.eosId = roles.eos;
    this.padId = roles.pad;
    this.unkId = roles.unk;
    this.maskId = roles.mask;
    this.clsId = roles.cls;
    this.sepId = roles.sep;
    this.addedTokens = new Map(added.map((token) => [token.content, token]));
    this.#idByToken = new Map(tokens.flatMap((token, id) => (token === undefined ? [] : [[token, id]])));
    this.#special = new Set(added.filter((token) => token.special).map((token) => token.id));
    const found = added.filter((token) => token.normalized);
    this.#normalized = new Map(found.map((token) => [token.id, parts.normalizer(token.content)]));
  }

  encode(text: string, { allowSpecial }: EncodeOptions = {}): Uint32Array {
    const { splitter, encoder } = this.#readingFor(allowSpecial);
    this.#out.length = 0;
    for (const segment of splitter.segments(text.toWellFormed())) {
      if ('token' in segment) this.#out.push(segment.token.id);
      else {
        const { bytes, length } = this.#utf8.write(this.parts.words.rewrite(segment.text));
        encoder.encode(bytes, 0, length, this.#out);
      }
    }
    return this.#out.take();
  }

  encodeBatch(texts: readonly string[], options: EncodeOptions = {}): Uint32Array[] {
    return texts.map((text) => this.encode(text, options));
  }

  encodePair(first: string, second: string, options: EncodeOptions = {}): Encoded {
    return this.withSpecials(this.encode(first, options), this.encode(second, options));
  }

  withSpecials(first: ArrayLike<number>, second?: ArrayLike<number>): Encoded {
    return applyPostProcessor(this.parts.postProcessor, first, second);
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    const stream = this.stream(options);
    let text = '';
    for (let i = 0; i < ids.length; i++) text += stream.push(ids[i]!);
    return text;
  }

  stream({ skipSpecial, skipUnknown }: DecodeOptions = {}): TextStream {
    let first = true;
    return {
      push: (id) => {
        if ((skipSpecial && this.isSpecial(id)) || (skipUnknown && !this.isToken(id))) return '';
        const text = this.#textOf(id, first);
        first = false;
        return text;
      },
      end: () => {
        first = true;
        return '';
      },
    };
  }

  isToken(id: number): boolean {
    return this.parts.tokens[id] !== undefined;
  }

  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }

  idOf(token: string): number | undefined {
    return this.#idByToken.get(token);
  }

  tokenOf(id: number): string {
    const token = this.parts.tokens[id];
    if (token !== undefined) return token;
    const known = Number.isInteger(id) && id >= 0 && id < this.vocabSize;
    throw new TrainMoeError(
      'bad-argument',
      `Id ${id} is no token: ${known ? 'this vocabulary leaves it empty' : `ids of this vocabulary are 0 to ${this.vocabSize - 1}`}.`,
    );
  }

  get fingerprint(): string {
    const { normalizer, pre_tokenizer, model, post_processor } = this.parts.json;
    const rules = { normalizer, pre_tokenizer, model, post_processor, added: this.parts.added };
    this.#fingerprint ??= createHash('sha256').update(JSON.stringify(rules)).digest('hex');
    return this.#fingerprint;
  }

  toJson(): Readonly<Record<string, unknown>> {
    return this.parts.json;
  }

  configJson(): Record<string, unknown> {
    return configOf(this.parts);
  }

  save(path: string): void {
    saveTokenizer(this.toJson(), this.configJson(), path);
  }

  #readingFor(allowed: Allowed): Reading {
    if (this.#reading && this.#reading.splitter.allowed === allowed) return this.#reading;
    const { added, normalizer, words, model } = this.parts;
    const plain = added.filter((token) => token.special && !isAllowed(allowed, token.content));
    const barred = plain.length === 0 ? undefined : new Uint8Array(this.vocabSize);
    for (const { id } of plain) barred![id] = 1;
    const encoder = new Encoder(words.split, model.pieces(barred), words.dropsSpace ? SPACE : 0);
    this.#reading = { splitter: new AddedSplitter(added, allowed, normalizer), encoder };
    return this.#reading;
  }

  #textOf(id: number, first: boolean): string {
    const known = first ? undefined : this.#texts[id];
    if (known !== undefined) return known;
    const text = this.parts.decoder(this.#normalized.get(id) ?? this.tokenOf(id), first);
    if (!first) this.#texts[id] = text;
    return text;
  }
}
