import { flagOf } from '../../config/flag_name.js';
import { leaves, type Settings } from '../../config/layers.js';
import { TrainMoeError } from '../../errors.js';

/*
 * Going on with a run: one policy for every command that can.
 *
 *   - Settings that say how far a run goes (its steps, its epochs) may change; that is told.
 *   - Settings that say where it runs, how fast, what it is told of and what is kept of it may change.
 *   - All others decide what the finished run is: the shape of the model, the batch, the length of its rows, the seed, the
 *     loss, the optimizer. Under others it would be neither the run it was begun as nor the one that is asked for now, so
 *     it is refused.
 *   - Files may lie elsewhere by now, but must hold the same: models, tokenizers and data are known by their content.
 *
 * A setting that no table names is of the third kind. One that a run was begun without, for it did not exist then, counts as what
 * it is when nobody sets it.
 */

/** Commands that go on, by the name that their state has in a folder. */
export type RunKind = 'state' | 'sft' | 'reward_model' | 'dpo' | 'grpo' | 'reject' | 'synthesize';

interface Policy {
  /** How far a run goes. */
  readonly extent: readonly string[];
  /** Files that are known by their content, or by that of what is read from them. */
  readonly files: readonly string[];
  /** What may change besides the settings of all commands. */
  readonly free?: readonly string[];
}

/** Where a run is, how fast it goes, what is told and kept of it: in every command that has such a setting. */
const FREE: readonly string[] = [
  'out',
  'device',
  'threads',
  'ranks',
  'rankTimeout',
  'accumulate',
  'recompute',
  'rowsAtOnce',
  'parallel',
  'graderWorkers',
  'graderTimeout',
  'evaluateEvery',
  'evaluatePairs',
  'evaluateQuestions',
  'evaluateSamples',
  'saveEvery',
  'keep',
  'tensorboard',
  'completions',
];

const preferences: Policy = { extent: ['epochs'], files: ['model', 'tokenizer', 'chatTemplate', 'data'] };

const curation: Policy = { extent: [], files: ['model', 'tokenizer'], free: ['batch', 'questions', 'rounds'] };

const POLICIES: Readonly<Record<RunKind, Policy>> = {
  state: {
    extent: ['train.steps'],
    files: ['model', 'data.sources', 'data.field', 'data.cache', 'tokenizer.path', 'distill.teacher'],
    free: ['train.accumulate', 'train.recompute', 'tokenizer.trainBytes', 'evaluate', 'save', 'log'],
  },
  sft: {
    extent: ['epochs', 'steps'],
    files: ['model', 'tokenizer', 'template', 'data', 'validationData'],
  },
  reward_model: preferences,
  dpo: preferences,
  grpo: { extent: ['steps', 'stopOnDrop'], files: ['model', 'tokenizer'] },
  reject: curation,
  synthesize: { ...curation, files: [...curation.files, 'template', 'seeds', 'examples'] },
};

/** What a run is begun with, as it is kept with its state. */
export interface Beginning {
  /** The settings that decide what it is, and how far it was to go. */
  readonly settings: Settings;
  /** Hashes of what it works on, by what people call it. */
  readonly content: Readonly<Record<string, string>>;
}

/** The settings to keep: all but those that may change without a word. */
export function settingsToKeep(kind: RunKind, config: Settings): Settings {
  const { files, free = [] } = POLICIES[kind];
  const left = [...FREE, ...free];
  const kept = [...leaves(config)].filter(
    ([path, value]) =>
      value !== undefined &&
      !files.includes(path) &&
      !left.some((name) => path === name || path.startsWith(`${name}.`)),
  );
  return JSON.parse(JSON.stringify(Object.fromEntries(kept))) as Settings;
}

/**
 * Compares a run with what it was begun with, as far as that is known.
 * @param defaults what settings are that nobody sets
 * @returns a sentence about how far it goes now, where that is another
 * @throws TrainMoeError `bad-config` naming the settings that decide the run and are others, `bad-data` for other content
 */
export function refuseOthers(
  out: string,
  kind: RunKind,
  held: Partial<Beginning>,
  now: Partial<Beginning>,
  defaults: Settings = {},
): string | undefined {
  const unset = Object.entries(settingsToKeep(kind, defaults)).filter(([path]) => now.settings?.[path] !== undefined);
  const before = held.settings && { ...Object.fromEntries(unset), ...held.settings };
  const changed = differences(before, now.settings);
  const { extent } = POLICIES[kind];
  const spell = (path: string) => (kind === 'state' ? `--${path}` : flagOf(path));
  const decisive = changed.filter(({ path }) => !extent.includes(path));
  if (decisive.length > 0)
    throw new TrainMoeError(
      'bad-config',
      `The run in ${out} was begun with ${told(decisive, spell)}, which decide${decisive.length === 1 ? 's' : ''} what it becomes: leave that as it was to go on, or give --out another folder to begin anew.`,
    );
  const other = differences(held.content, now.content).map(({ path }) => path);
  if (other.length > 0)
    throw new TrainMoeError(
      'bad-data',
      `The run in ${out} was begun with another ${other.join(' and another ')}: give the same to go on, or --out another folder to begin anew.`,
    );
  const further = changed.filter(({ path }) => extent.includes(path));
  return further.length > 0 ? `It was begun with ${told(further, spell)}.` : undefined;
}

interface Difference {
  readonly path: string;
  readonly before: unknown;
  readonly now: unknown;
}

/** Nothing where either side is not known. */
function differences(before: Settings | undefined, now: Settings | undefined): Difference[] {
  if (!before || !now) return [];
  const paths = [...new Set([...Object.keys(before), ...Object.keys(now)])];
  return paths
    .filter((path) => JSON.stringify(before[path]) !== JSON.stringify(now[path]))
    .map((path) => ({ path, before: before[path], now: now[path] }));
}

/** Differences that are named before the rest is counted. */
const SHOWN = 6;

function told(all: readonly Difference[], spell: (path: string) => string): string {
  const text = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));
  const named = all
    .slice(0, SHOWN)
    .map(({ path, before, now }) =>
      before === undefined
        ? `no ${spell(path)} (now ${text(now)})`
        : `${spell(path)} ${text(before)} (now ${now === undefined ? 'unset' : text(now)})`,
    );
  return named.join(', ') + (all.length > SHOWN ? ` and ${all.length - SHOWN} others` : '');
}
