import { createHash } from 'node:crypto';
import { TrainMoeError } from '../errors.js';
import { AddedSplitter, type AddedToken, type Allowed } from './added.js';
import { bpe } from './bpe.js';
import { Encoder, IdBuffer } from './encoder.js';
import { lettersOf, tryBytesOf } from './letters.js';
import type { TokenizerParts } from './parts.js';
import { applyPostProcessor, type PostProcessor, readPostProcessor } from './post_processor.js';
import { StreamDecoder } from './stream.js';
import type { DecodeOptions, Encoded, EncodeOptions, TextTokenizer } from './text_tokenizer.js';
import { Utf8Buffer } from './utf8.js';
import { byteIdsOf, indexOf, tokenBytes } from './vocabulary.js';
import { configOf, saveTokenizer, type TokenizerJson, toJson } from './write.js';

/**
 * A byte-level BPE tokenizer: any text to ids and back. Lone surrogates become U+FFFD, as in any UTF-8 encoder; all else
 * comes back exactly unless a normal form is set. Not shared between threads.
 */
export class Tokenizer implements TextTokenizer {
  readonly type = 'BPE';
  /** Where it came from, for error sentences: mostly a path. */
  readonly source: string;
  /** One more than the largest id: the rows an embedding needs. */
  readonly vocabSize: number;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly padId: number | undefined;
  readonly unkId: number | undefined;
  readonly maskId: number | undefined;
  readonly clsId: number | undefined;
  readonly sepId: number | undefined;
  /** The tokens that are matched whole, by content. */
  readonly addedTokens: ReadonlyMap<string, AddedToken>;

  readonly #encoder: Encoder;
  readonly #addedById: ReadonlyMap<number, AddedToken>;
  readonly #out = new IdBuffer();
  readonly #utf8 = new Utf8Buffer();
  #splitter: AddedSplitter | undefined;
  #postProcessor: PostProcessor | undefined;
  #index: ReturnType<typeof indexOf> | undefined;
  #fingerprint: string | undefined;

  constructor(readonly parts: TokenizerParts) {
    const { vocabulary, model, preTokenizer, added, roles, source } = parts;
    this.vocabSize = vocabulary.size;
    this.source = source;
    this.bosId = roles.bos;
    this.eosId = roles.eos;
    this.padId = roles.pad;
    this.unkId = roles.unk;
    this.maskId = roles.mask;
    this.clsId = roles.cls;
    this.sepId = roles.sep;
    this.addedTokens = new Map(added.map((token) => [token.content, token]));
    this.#addedById = new Map(added.map((token) => [token.id, token]));
    const ordinary = (id: number): boolean => !this.#addedById.has(id);
    const merging = bpe({
      byteIds: byteIdsOf(vocabulary, ordinary, source),
      merges: model.merges,
      ...(model.ignoreMerges ? { whole: indexOf(vocabulary, ordinary) } : {}),
    });
    this.#encoder = new Encoder(preTokenizer.split, merging);
  }

  /** The ids of a text. No BOS or other token is added. */
  encode(text: string, options: EncodeOptions = {}): Uint32Array {
    const { allowSpecial } = options;
    this.#out.length = 0;
    if (!allowSpecial) this.#encodeText(this.#normalize(text));
    else this.#encodeSpecial(text, allowSpecial);
    return this.#out.take();
  }

  /** The ids of each text. */
  encodeBatch(texts: readonly string[], options: EncodeOptions = {}): Uint32Array[] {
    return texts.map((text) => this.encode(text, options));
  }

  /** The ids of two texts with what the post-processor puts around them. */
  encodePair(first: string, second: string, options: EncodeOptions = {}): Encoded {
    return this.withSpecials(this.encode(first, options), this.encode(second, options));
  }

  /** Ids with what the post-processor puts around them. Throws a `TrainMoeError` if the file's is none we know. */
  withSpecials(first: ArrayLike<number>, second?: ArrayLike<number>): Encoded {
    const { extra, source } = this.parts;
    this.#postProcessor ??= readPostProcessor(extra?.post_processor, this.vocabSize, source);
    return applyPostProcessor(this.#postProcessor, first, second);
  }

  /** The text of ids; bytes that are not UTF-8 become U+FFFD. Throws a `TrainMoeError` on an id that is no token. */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    let length = 0;
    for (let i = 0; i < ids.length; i++) if (!this.#skips(ids[i]!, options)) length += this.byteLength(ids[i]!);
    const bytes = new Uint8Array(length);
    let at = 0;
    for (let i = 0; i < ids.length; i++) {
      if (this.#skips(ids[i]!, options)) continue;
      const token = this.bytesOf(ids[i]!);
      bytes.set(token, at);
      at += token.length;
    }
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(0, at));
  }

  /** A decoder that takes ids one by one and gives text as soon as its characters are complete. */
  stream(options: DecodeOptions = {}): StreamDecoder {
    return new StreamDecoder((id) => (this.#skips(id, options) ? new Uint8Array(0) : this.bytesOf(id)));
  }

  #skips(id: number, { skipSpecial, skipUnknown }: DecodeOptions): boolean {
    return (skipSpecial && this.isSpecial(id)) || (skipUnknown && !this.isToken(id)) || false;
  }

  /** Whether the vocabulary has a token of this id. */
  isToken(id: number): boolean {
    const { starts } = this.parts.vocabulary;
    return Number.isInteger(id) && id >= 0 && id < this.vocabSize && starts[id + 1]! > starts[id]!;
  }

  /** The bytes of a token; a view. Throws a `TrainMoeError` if the id is no token. */
  bytesOf(id: number): Uint8Array {
    if (this.byteLength(id) > 0) return tokenBytes(this.parts.vocabulary, id);
    throw new TrainMoeError('bad-argument', `Id ${id} is no token: this vocabulary leaves it empty.`);
  }

  /** How many bytes of text a token stands for; 0 for an id that the vocabulary leaves empty. */
  byteLength(id: number): number {
    if (!(Number.isInteger(id) && id >= 0 && id < this.vocabSize)) {
      throw new TrainMoeError(
        'bad-argument',
        `Id ${id} is no token: ids of this vocabulary are 0 to ${this.vocabSize - 1}.`,
      );
    }
    return this.parts.vocabulary.starts[id + 1]! - this.parts.vocabulary.starts[id]!;
  }

  /** The id of a token spelled as in `tokenizer.json` (byte letters: "Ġthe"; added tokens as they are), if there is one. */
  idOf(token: string): number | undefined {
    const added = this.addedTokens.get(token);
    if (added) return added.id;
    const bytes = tryBytesOf(token);
    if (!bytes) return undefined;
    this.#index ??= indexOf(this.parts.vocabulary, (id) => !this.#addedById.has(id));
    const index = this.#index.pieces.find(bytes, 0, bytes.length);
    return index < 0 ? undefined : this.#index.ids[index]!;
  }

  /** The spelling of a token as in `tokenizer.json`; the opposite of `idOf`. */
  tokenOf(id: number): string {
    return this.#addedById.get(id)?.content ?? lettersOf(this.bytesOf(id));
  }

  /** Is this a special token? Added tokens that are not special are text to `decode`. */
  isSpecial(id: number): boolean {
    return this.#addedById.get(id)?.special ?? false;
  }

  /** A hash of all that decides ids: tokenizers with equal fingerprints encode alike. */
  get fingerprint(): string {
    this.#fingerprint ??= fingerprintOf(this.parts);
    return this.#fingerprint;
  }

  /** The content of a `tokenizer.json` (Hugging Face). */
  toJson(): TokenizerJson {
    return toJson(this.parts);
  }

  /** The content of a `tokenizer_config.json`: the roles of tokens, and what else stood in it. */
  configJson(): Record<string, unknown> {
    return configOf(this.parts);
  }

  /** Writes `tokenizer.json` and `tokenizer_config.json` into a folder, or just the first if `path` ends in `.json`. */
  save(path: string): void {
    saveTokenizer(this.toJson(), this.configJson(), path);
  }

  #encodeSpecial(text: string, allowed: Allowed): void {
    if (this.#splitter?.allowed !== allowed) {
      this.#splitter = new AddedSplitter(this.parts.added, allowed, (raw) => this.#normalize(raw));
    }
    for (const segment of this.#splitter!.segments(text)) {
      if ('token' in segment) this.#out.push(segment.token.id);
      else this.#encodeText(segment.text);
    }
  }

  #normalize(text: string): string {
    return this.parts.normalForms.reduce((out, form) => out.normalize(form), text);
  }

  #encodeText(text: string): void {
    const prefixed = this.parts.preTokenizer.prefixSpace && text !== '' && text[0] !== ' ' ? ` ${text}` : text;
    const { bytes, length } = this.#utf8.write(prefixed);
    this.#encoder.encode(bytes, 0, length, this.#out);
  }
}

function fingerprintOf(parts: TokenizerParts): string {
  const { vocabulary, model, preTokenizer, normalForms, added } = parts;
  const { left, right, merged, rank } = model.merges;
  const hash = createHash('sha256');
  const rules = {
    ignoreMerges: model.ignoreMerges,
    prefixSpace: preTokenizer.prefixSpace,
    pre: preTokenizer.json,
    normalForms,
    added: added.map((one) => [
      one.id,
      one.content,
      one.special,
      one.normalized,
      one.single_word,
      one.lstrip,
      one.rstrip,
    ]),
  };
  hash.update(JSON.stringify(rules));
  for (const table of [vocabulary.arena, vocabulary.starts, left, right, merged, rank]) {
    hash.update(new Uint8Array(table.buffer, table.byteOffset, table.byteLength));
  }
  return hash.digest('hex');
}
