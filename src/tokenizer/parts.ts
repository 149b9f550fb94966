import type { AddedToken } from './added.js';
import type { MergeTable } from './merge.js';
import type { PreTokenizer } from './patterns.js';
import type { Vocabulary } from './vocabulary.js';

/** The byte-level BPE model of a tokenizer. */
export interface BpeModel {
  readonly type: 'BPE';
  readonly merges: MergeTable;
  /** A piece that is a token is taken whole, without merging. */
  readonly ignoreMerges: boolean;
}

/** The ids that models and data sets ask for by role. */
export interface Roles {
  readonly bos?: number;
  readonly eos?: number;
  readonly pad?: number;
  readonly unk?: number;
  readonly mask?: number;
  readonly cls?: number;
  readonly sep?: number;
}

/** A normal form that is applied to text before anything else; null leaves it as it is. */
export type NormalForm = 'NFC' | 'NFD' | 'NFKC' | 'NFKD';

/** All there is to a tokenizer. */
export interface TokenizerParts {
  readonly vocabulary: Vocabulary;
  readonly model: BpeModel;
  readonly preTokenizer: PreTokenizer;
  readonly normalForms: readonly NormalForm[];
  readonly added: readonly AddedToken[];
  readonly roles: Roles;
  /** Parts of a `tokenizer.json` that are only passed on. */
  readonly extra?: Readonly<Record<string, unknown>>;
  /** What stood in `tokenizer_config.json`. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Where it came from, for error sentences. */
  readonly source: string;
}
