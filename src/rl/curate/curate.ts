import { defaultsOf } from '../../config/keys.js';
import { Engine, endIds } from '../../generate/index.js';
import { disposeModel } from '../../models/codec.js';
import type { Model } from '../../models/family.js';
import { modelFingerprint } from '../../models/fingerprint.js';
import { loadDecoder } from '../../models/folder.js';
import { addon } from '../../native.js';
import { countParameters } from '../../nn/param.js';
import { chooseDevice } from '../../tensor/index.js';
import { loadTokenizer, type Tokenizer } from '../../tokenizer/index.js';
import { advising } from '../../train/fit.js';
import { lockRun } from '../../train/run/lock.js';
import { modelFolder } from '../../train/run/model_folder.js';
import { settingsToKeep } from '../../train/run/policy.js';
import { namedByContent } from '../preference/reward.js';
import type { RewardResult } from '../rewards/types.js';
import { longestPrompt, rollout } from '../rollout.js';
import type { Question, Sample } from '../sample.js';
import { type CurateConfig, rejectSchema, synthesizeSchema } from './config.js';
import { type Reason, SeenTexts, textFilter } from './filters.js';
import { curateChoices, engineFor } from './fit.js';
import { type Panel, reasonAgainst } from './panel.js';
import { addCounts, type Counts, dataPath, NO_COUNTS, openStore, type Store } from './store.js';

/** One turn of a conversation that is written. */
export interface Turn {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** What is asked, and what becomes of an answer. A front end makes one of these; the rest is common. */
export interface Curation {
  readonly kind: 'reject' | 'synthesize';
  readonly name: string;
  /** Hashes of what the questions are made of, besides the settings, by what people call it. */
  readonly content: Readonly<Record<string, string>>;
  /** Questions */
  readonly total: number;
  /** The same index gives the same question. */
  question(index: number): Question;
  readonly stop: readonly string[];
  /** Ids that end a completion; by default the tokenizer's. */
  readonly stopIds?: readonly number[] | undefined;
  /** Absent where nothing but the form of a completion counts. */
  readonly panel: Panel | undefined;
  /** The conversation that a completion makes, with whatever else its line says. */
  conversation(question: Question, text: string): Conversation;
  /** Conversations that count as kept before the first completion. */
  known(): Iterable<readonly Turn[]>;
}

export interface Conversation {
  readonly messages: readonly Turn[];
  readonly about: Readonly<Record<string, unknown>>;
}

/** What happens, in the order it happens. Plain data. */
export type CurateEvent =
  | { readonly kind: 'note'; readonly sentence: string }
  | { readonly kind: 'start'; readonly run: CurateFacts }
  /** A sign of life within a batch: tokens sampled or, with `phase` "judge", samples. */
  | { readonly kind: 'phase'; readonly at: CuratePlace; readonly phase: 'sample' | 'judge'; readonly done: number }
  | { readonly kind: 'batch'; readonly at: CuratePlace }
  | { readonly kind: 'end'; readonly end: CurateEnd };

/** How far a run is. */
export interface CuratePlace {
  readonly next: number;
  readonly total: number;
  readonly counts: Counts;
}

/** Known before the first batch. */
export interface CurateFacts {
  readonly out: string;
  readonly device: string;
  readonly deviceReason: string | undefined;
  readonly threads: number;
  readonly dtype: 'f32' | 'bf16';
  readonly parameters: number;
  readonly name: string;
  readonly rewards: readonly string[];
}

/** What a run made. */
export interface CurateEnd extends Counts {
  readonly data: string;
  /** By a signal, before the last question. */
  readonly stopped: boolean;
  /** Of this process. */
  readonly seconds: number;
}

/** How a program watches and stops a run. */
export interface CurateHooks {
  readonly onEvent?: (event: CurateEvent) => void;
  /** Asked after every batch; true ends the run, to be gone on with. `() => signal.aborted` heeds an AbortSignal. */
  readonly shouldStop?: () => boolean;
}

/**
 * Asks a model, judges its completions and keeps the good ones as conversations in `out`/data.jsonl. A batch is written
 * whole or not at all; run again, it goes on behind the last one, to the same bytes as without an interruption, since chance
 * depends on the seed and the number of a question only. The folder may be moved or copied, and so may the model.
 * @throws TrainMoeError `busy` while another process writes in the folder, `bad-config` or `bad-data` when the data in it was made
 *   with other settings or from something else (`train/run/policy.ts`), and whatever reading model and task may bring
 */
export async function curate<C extends CurateConfig>(
  config: C,
  open: (config: C, tokenizer: Tokenizer) => Promise<Curation>,
  hooks: CurateHooks = {},
): Promise<CurateEnd> {
  const began = performance.now();
  if (config.threads) addon.setThreads(config.threads);
  const folder = modelFolder(config.model);
  const lock = lockRun(config.out);
  try {
    const tokenizer = loadTokenizer(config.tokenizer ?? folder);
    const curation = await open(config, tokenizer);
    try {
      const beginning = {
        settings: settingsToKeep(curation.kind, { ...config, reward: config.reward.map(namedByContent) }),
        content: { model: modelFingerprint(folder), tokenizer: tokenizer.fingerprint, ...curation.content },
      };
      const schema = curation.kind === 'reject' ? rejectSchema : synthesizeSchema;
      const store = openStore(config.out, curation.kind, beginning, defaultsOf(schema));
      try {
        const stopped = store.next < curation.total && (await run(config, folder, tokenizer, curation, store, hooks));
        const seconds = (performance.now() - began) / 1000;
        const end: CurateEnd = { data: dataPath(config.out), stopped, ...store.counts, seconds };
        hooks.onEvent?.({ kind: 'end', end });
        return end;
      } finally {
        store.close();
      }
    } finally {
      curation.panel?.close();
    }
  } finally {
    lock.release();
  }
}

/** Batches until the last question or a stop, which is told. */
async function run(
  config: CurateConfig,
  folder: string,
  tokenizer: Tokenizer,
  curation: Curation,
  store: Store,
  hooks: CurateHooks,
): Promise<boolean> {
  const tell = hooks.onEvent ?? (() => {});
  const { device, reason } = chooseDevice(config.device);
  const model = loadDecoder(folder, { device, dtype: config.dtype, train: false });
  try {
    tell({
      kind: 'start',
      run: {
        out: config.out,
        device: device.name,
        deviceReason: reason,
        threads: addon.hostInfo().threads,
        dtype: model.dtype,
        parameters: countParameters(model.family.specs(model.config)),
        name: curation.name,
        rewards: curation.panel?.rewards.map(({ name, weight }) => (weight === 1 ? name : `${weight} * ${name}`)) ?? [],
      },
    });
    return await advising(
      device,
      () => curateChoices(model, config),
      () => batches(config, model, tokenizer, curation, store, hooks),
    );
  } finally {
    disposeModel(model);
  }
}

async function batches(
  config: CurateConfig,
  model: Model,
  tokenizer: Tokenizer,
  curation: Curation,
  store: Store,
  hooks: CurateHooks,
): Promise<boolean> {
  const tell = hooks.onEvent ?? (() => {});
  const engine = new Engine(model, engineFor(config));
  try {
    if (store.next > 0) tell({ kind: 'note', sentence: `Going on behind question ${store.next}.` });
    const seen = seenIn(curation, store);
    const place = (): CuratePlace => ({ next: store.next, total: curation.total, counts: store.counts });
    while (store.next < curation.total) {
      await batch(config, { engine, tokenizer, curation, store, seen }, (phase, done) =>
        tell({ kind: 'phase', at: place(), phase, done }),
      );
      tell({ kind: 'batch', at: place() });
      if (hooks.shouldStop?.() && store.next < curation.total) return true;
    }
    return false;
  } finally {
    engine.dispose();
  }
}

/** What was kept before: known conversations, and those of the data so far. */
function seenIn(curation: Curation, store: Store): SeenTexts {
  const seen = new SeenTexts();
  for (const turns of curation.known()) seen.add(contents(turns));
  for (const line of store.lines()) seen.add(contents((JSON.parse(line) as { messages: Turn[] }).messages));
  return seen;
}

const contents = (turns: readonly Turn[]): string[] => turns.map(({ content }) => content);

interface Parts {
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  readonly curation: Curation;
  readonly store: Store;
  readonly seen: SeenTexts;
}

/** The next questions: sampled, judged, filtered, written. */
async function batch(
  config: CurateConfig,
  { engine, tokenizer, curation, store, seen }: Parts,
  onPhase: (phase: 'sample' | 'judge', done: number) => void,
): Promise<void> {
  const { next } = store;
  const end = Math.min(next + config.batch, curation.total);
  const asked = Array.from({ length: end - next }, (_, i) => curation.question(next + i));
  const fitting = asked.filter(({ ids }) => ids.length > 0 && ids.length <= longestPrompt(config, engine.model));
  const { samples: group, maxTokens, temperature, seed } = config;
  const onProgress = (tokens: number) => onPhase('sample', tokens);
  const options = {
    group,
    maxTokens,
    temperature,
    seed,
    stopIds: curation.stopIds ?? endIds(tokenizer),
    stop: curation.stop,
    onProgress,
  };
  const groups = await rollout(engine, tokenizer, fitting, options);
  const flat = groups.flat();
  onPhase('judge', flat.length);
  const results = curation.panel ? await curation.panel.grade(flat, { observe: false }) : flat.map(() => []);
  let counts: Counts = { ...NO_COUNTS, questions: asked.length, passedOver: asked.length - fitting.length };
  const lines: string[] = [];
  groups.forEach((samples, g) => {
    const chosen = choose(config, curation, samples, results.slice(g * group, (g + 1) * group), seen);
    lines.push(...chosen.lines);
    counts = addCounts(counts, chosen.counts);
  });
  store.append(lines, end, addCounts(store.counts, counts));
}

/** Which completions of one question stay, best first, and why the others do not. */
function choose(
  config: CurateConfig,
  { panel, conversation, name }: Curation,
  samples: readonly Sample[],
  results: readonly (readonly RewardResult[])[],
  seen: SeenTexts,
): { readonly lines: readonly string[]; readonly counts: Counts } {
  const form = textFilter(config);
  const dropped: Partial<Record<Reason, number>> = {};
  const drop = (reason: Reason) => {
    dropped[reason] = (dropped[reason] ?? 0) + 1;
  };
  const judged = samples.map((sample, i) => ({ sample, ...judgedBy(panel, results[i]!) }));
  const passing = judged.filter(({ sample, verdict }) => {
    const reason = (sample.finish === 'length' ? 'truncated' : verdict) ?? form(sample);
    if (reason) drop(reason);
    return reason === undefined;
  });
  const lines: string[] = [];
  for (const { sample, reward, rewards } of passing.toSorted((a, b) => (b.reward ?? 0) - (a.reward ?? 0))) {
    const { messages, about } = conversation(sample.question, sample.text);
    if (lines.length >= config.most) drop('surplus');
    else if (config.dedup && !seen.add(contents(messages))) drop('duplicate');
    else {
      const { answer, index } = sample.question;
      const metadata = { source: name, index, answer, reward, rewards, tokens: sample.ids.length };
      lines.push(JSON.stringify({ messages, ...about, ...metadata }));
    }
  }
  return {
    lines,
    counts: {
      ...NO_COUNTS,
      sampled: samples.length,
      tokens: samples.reduce((n, { ids }) => n + ids.length, 0),
      correct: judged.filter(({ right }) => right).length,
      kept: lines.length,
      dropped,
    },
  };
}

const judgedBy = (panel: Panel | undefined, results: readonly RewardResult[]): ReturnType<typeof reasonAgainst> =>
  panel ? reasonAgainst(panel, results) : { right: true, verdict: undefined, reward: undefined, rewards: undefined };
