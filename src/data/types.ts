/** What flows through the data floor: documents, then token shards, then batches of ids. */

/** One text with the place it came from. `text` is always well-formed Unicode (no lone surrogates). */
export interface TextDocument {
  readonly text: string;
  /** The file it was read from. */
  readonly source: string;
  /**
   * Where in the file it starts: a byte offset (into the decompressed bytes for `.gz`), or for Parquet the row
   * number.
   */
  readonly offset: number;
  readonly meta?: Readonly<Record<string, unknown>>;
}

/** Something worth telling about the input. `offset` is a byte offset into the (decompressed) file. */
export interface Problem {
  readonly kind: 'utf8' | 'surrogate' | 'bad-record' | 'bad-file' | 'unreadable' | 'binary' | 'link-loop';
  readonly file: string;
  readonly offset?: number;
  readonly line?: number;
  /** One sentence that names the file and the place. */
  readonly message: string;
}

/** Counters that `collect` keeps while its documents are drawn; complete once the stream has ended. */
export interface CollectReport {
  /** Files opened. */
  files: number;
  /** Documents that left the last stage, and their UTF-8 bytes. */
  documents: number;
  bytes: number;
  /** Documents dropped because their exact text was seen before. */
  duplicates: number;
  /** Documents dropped because they hold only white space, or (CSV, JSONL, Parquet) a null text. */
  empty: number;
  /** Ill-formed UTF-8 sequences and lone surrogates, each replaced by U+FFFD. */
  repairs: number;
  /** NUL characters seen; they are kept. */
  nul: number;
  /** CRLF line ends turned into LF (plain text only). */
  crlf: number;
  /** Everything that was reported; `problems` holds the first of them (see `problemLimit` of the options). */
  problemCount: number;
  readonly problems: Problem[];
}

/**
 * A step of the pipeline between reading and tokenising: filters, cleaners and deduplicators all have this shape.
 * A stage that changes a text must yield a new document object.
 */
export interface TextStage {
  /** Goes into the cache key, so it must change with the stage's settings (`min-length(20)`). */
  readonly name: string;
  run(documents: AsyncIterable<TextDocument>, report: CollectReport): AsyncIterable<TextDocument>;
}

/** What the data floor needs of a tokenizer. */
export interface DataTokenizer {
  readonly vocabSize: number;
  encode(text: string): Uint32Array;
  readonly eosId?: number | undefined;
  readonly bosId?: number | undefined;
  /** Equal for tokenizers that give equal ids; goes into the cache key. */
  readonly fingerprint: string;
  /** UTF-8 bytes that the token stands for. */
  byteLength?(id: number): number;
  /** Whether the token stands for no text of a document; its bytes then do not count. */
  isSpecial?(id: number): boolean;
}

/** Parts of a corpus: what is trained on, what is watched on the way, and what is held back to the end. */
export type SplitName = 'train' | 'validation' | 'test';

/** The whole position of a data stream. `index` counts windows (rows) within the epoch, not steps. */
export interface DataState {
  readonly seed: number;
  readonly epoch: number;
  readonly index: number;
}

/** `stream`: documents run into each other, attention may cross. `documents`: each position knows its document. */
export type Packing = 'stream' | 'documents';

/** `rows` windows of `length` positions, row-major. */
export interface Batch {
  /** B, windows. */
  readonly rows: number;
  /** T, positions of a window. */
  readonly length: number;
  /** [rows * length] input ids. */
  readonly ids: Int32Array;
  /** [rows * length] the id to predict at each position, or `IGNORE` where nothing is trained. */
  readonly targets: Int32Array;
  /**
   * [rows * length] index within the row of the first token of the position's document; a document that began in an
   * earlier row starts at 0. All 0 when attention may cross documents.
   */
  readonly documentStart: Int32Array;
  /** How many targets are not `IGNORE`: the denominator of the loss. */
  readonly trainedTokens: number;
  /** At most so many targets in a row; absent: all positions may be. Set where hidden tokens are predicted. */
  readonly targetsPerRow?: number;
  /** UTF-8 bytes the trained targets stand for (for bits per byte); 0 when the tokenizer gave no byte lengths. */
  readonly bytes: number;
  /** [rows * length] which text of its row each token is of, where that is told to the model. */
  readonly types?: Int32Array;
  /** [rows] how the two texts of a row belong together: 0, or 1 where they do not, or are swapped. */
  readonly relations?: Int32Array;
  /**
   * [rows * length] where words are predicted in any order: tokens see those of their row whose turn comes before theirs, and, unless
   * they are predicted themselves, those of the same turn.
   */
  readonly turns?: Int32Array;
  /** [rows] so many batches before this one hold, in the row of this number, what comes right before it, without a gap. */
  readonly history?: Int32Array;
  /** [rows] 1 where a row runs from the end of a text to its beginning. */
  readonly backwards?: Int32Array;
}

/** The target of a position that is not trained. */
export const IGNORE = -100;
