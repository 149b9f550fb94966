import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { RunConfig } from '../config/index.js';
import { noText } from '../data/collect/index.js';
import { type Collection, type CollectReport, collect, defaultCorpus, type TokenSet, tokenize } from '../data/index.js';
import { TrainMoeError } from '../errors.js';
import type { Family } from '../models/family.js';
import {
  loadTokenizer,
  openTokenizer,
  type TextTokenizer,
  type Tokenizer,
  type TrainBpeOptions,
  trainBpe,
} from '../tokenizer/index.js';
import { refuseTeacher, teacherFolder } from './distill.js';
import { ENCODER_TOKENS, forDocuments, XLNET_TOKENS } from './masking.js';
import { familyOfRun, modelConfigFor, modelToGoOnFrom } from './model_config.js';
import { type Objective, objectiveOf, objectiveSettings } from './objective.js';

/** What is told while the corpus is prepared. */
export interface CorpusEvents {
  /** One sentence: what was taken, what was learnt. */
  note(sentence: string): void;
  /** Something is under way: its name, how much of `total` is done (undefined: not known), in `unit`. */
  progress(phase: string, done: number, total: number | undefined, unit: string): void;
}

export interface Corpus {
  readonly tokenizer: TextTokenizer;
  readonly tokens: TokenSet;
  readonly report: CollectReport;
  /** What is predicted, other than the next token. */
  readonly objective: Objective | undefined;
}

/** Special tokens of a learnt vocabulary: DeepSeek-V3's names, so that its chat template and FIM format fit. */
export const SPECIAL_TOKENS = [
  '<｜begin▁of▁sentence｜>',
  '<｜end▁of▁sentence｜>',
  '<｜▁pad▁｜>',
  '<｜fim▁hole｜>',
  '<｜fim▁begin｜>',
  '<｜fim▁end｜>',
  '<｜User｜>',
  '<｜Assistant｜>',
] as const;

/** Tokens that are part of what a model writes, and so are shown: rewards and readers look for them. */
export const SHOWN_TOKENS = ['<think>', '</think>'] as const;

/** Where a run keeps the vocabulary it learnt. */
export const tokenizerPath = (out: string) => join(out, 'tokenizer.json');

/**
 * Reads the sources, learns or loads the vocabulary, and tokenises into the cache; each part is skipped when it is done.
 * @param goingOn the run has a checkpoint, whose settings are these: its vocabulary is what they gave
 * @throws TrainMoeError `bad-data` when there is nothing to train on, `bad-config` when the vocabulary lacks a token, as an encoder's
 *   mask
 */
export async function prepareCorpus(
  config: RunConfig,
  events: CorpusEvents,
  { goingOn = false }: { readonly goingOn?: boolean } = {},
): Promise<Corpus> {
  const { data } = config;
  const collection = openSources(data.sources, data.field, events);
  const tokenizer = await tokenizerFor(config, collection, events, goingOn);
  const model = modelConfigFor(config, tokenizer.vocabSize);
  refuseTeacher(model, config);
  const objective = objectiveOf(model, tokenizer, objectiveSettings(config)); // before all text is tokenised for nothing
  const tokens = await tokenize(collection, forDocuments(tokenizer), {
    cacheDir: data.cache ?? join(config.out, 'cache'),
    fractions: { validation: data.validation, test: data.test },
    onProgress: ({ bytes }) => events.progress('tokenising', bytes, undefined, 'B'),
  });
  refuseNothing(tokens, data);
  return { tokenizer, tokens, report: tokens.report, objective };
}

function refuseNothing(tokens: TokenSet, { sources, validation, test }: RunConfig['data']): void {
  if (tokens.split('train').tokens >= 2) return;
  const held = tokens.split('validation').documents + tokens.split('test').documents;
  if (held === 0) throw noText(sources);
  throw new TrainMoeError(
    'bad-data',
    `No document is left to train on: all ${held} are held out by data.validation = ${validation} and data.test = ${test}; hold out less, or give more text.`,
  );
}

function openSources(sources: readonly string[], field: string, events: CorpusEvents): Collection {
  if (sources.length > 0) return collect(sources, { field });
  const { sources: own, sentence } = defaultCorpus();
  events.note(sentence);
  return collect(own, { field });
}

async function tokenizerFor(
  config: RunConfig,
  collection: Collection,
  events: CorpusEvents,
  goingOn: boolean,
): Promise<TextTokenizer> {
  const { tokenizer: wanted, data, out } = config;
  const path = wanted.path ?? modelToGoOnFrom(config) ?? teacherFolder(config);
  if (path !== undefined) return openTokenizer(path);
  const own = tokenizerPath(out);
  if (existsSync(own)) return goingOn ? loadTokenizer(own) : learntBefore(own, wanted.vocabSize, events);
  const sample = sampleTexts(collection, wanted.trainBytes, () => {
    throw noText(data.sources);
  });
  const tokenizer = await trainBpe(sample, {
    vocabSize: wanted.vocabSize,
    ...specialTokensOf(familyOfRun(config), data.pairs !== 'none'),
    onProgress: (p) =>
      p.stage === 'count'
        ? events.progress('vocabulary: counting', p.bytes, undefined, 'B')
        : events.progress('vocabulary: merging', p.merges, p.of, 'merges'),
  });
  tokenizer.save(own);
  const { vocabSize } = tokenizer;
  const fewer =
    vocabSize < wanted.vocabSize ? `; the text has no pairs for the other ${wanted.vocabSize - vocabSize}` : '';
  events.note(`Learnt a vocabulary of ${vocabSize} tokens${fewer}.`);
  return tokenizer;
}

/** Special tokens of a vocabulary that is learnt for a family, and what goes around its texts. */
function specialTokensOf({ encoder, recurrence }: Family, inPairs: boolean): Pick<TrainBpeOptions, SpecialTokens> {
  if (recurrence) return { specialTokens: [...XLNET_TOKENS], template: 'xlnet' };
  if (encoder) return { specialTokens: [...ENCODER_TOKENS], template: inPairs ? 'bert' : 'roberta' };
  return { specialTokens: [...SPECIAL_TOKENS], shownTokens: [...SHOWN_TOKENS] };
}

type SpecialTokens = 'specialTokens' | 'shownTokens' | 'template';

/** The vocabulary that the run folder has already; a wish for another size is not passed over in silence. */
function learntBefore(path: string, wanted: number, events: CorpusEvents): Tokenizer {
  const tokenizer = loadTokenizer(path);
  const { vocabSize } = tokenizer;
  if (vocabSize !== wanted)
    events.note(
      `The run's own vocabulary of ${vocabSize} tokens is used, not one of ${wanted}; without ${path} another is learnt.`,
    );
  return tokenizer;
}

/** Texts up to `limit` bytes; `onNone` is told when there is not a character. */
async function* sampleTexts(collection: Collection, limit: number, onNone: () => never): AsyncGenerator<string> {
  let bytes = 0;
  for await (const { text } of collection.documents()) {
    yield text;
    bytes += Buffer.byteLength(text);
    if (bytes >= limit) return;
  }
  if (bytes === 0) onNone();
}
