import { z } from 'zod';
import { defineConfig } from '../config/index.js';
import { isSettings, leaves, mergeLayers, type Settings } from '../config/layers.js';
import { checkSettings } from '../config/settings.js';
import { suggest } from '../config/suggest.js';
import { TrainMoeError } from '../errors.js';
import { resolveGrpo } from '../rl/config.js';
import { resolveReject, resolveSynthesize } from '../rl/curate/config.js';
import { resolvePreference, rewardModelSchema } from '../rl/preference/config.js';
import { resolveSft } from '../train/sft/config.js';
import type { R1Settings } from './settings.js';

/**
 * A preset with some of its settings replaced: `{ zero: { steps: 200 } }`. What does not name a setting of a stage, or gives it a
 * value that it cannot have, is found here, before the first stage runs.
 * @throws TrainMoeError `bad-config` naming the setting
 */
export function withSettings(preset: R1Settings, given: Settings): R1Settings {
  for (const [section, values] of Object.entries(given)) refuseForeign(section, values, preset);
  const layers = [
    { source: 'the preset', values: { ...preset } },
    { source: 'settings', values: given },
  ];
  const merged = mergeLayers(layers).values as unknown as R1Settings;
  for (const section of Object.keys(given) as (keyof R1Settings)[]) check(section, merged, preset);
  return merged;
}

/** What the recipe says to every stage itself. Pre-training has a section `model`, its shape, and one `data`. */
const OF_ALL = ['out', 'device', 'threads', 'seed'];
const OF_TUNING = [...OF_ALL, 'model', 'data'];
/** The same of some stages. Those that tune a model put questions as the setting `tunedTemplate` says. */
const OF_SECTION: Readonly<Record<string, readonly string[]>> = {
  base: ['data.sources', 'train.seed'],
  student: ['data.sources', 'train.seed', 'tokenizer'],
  rl1: ['template'],
  rl2: ['template'],
  samples: ['template'],
  distillSamples: ['template'],
  synthetic: ['template', 'seeds'],
};

function refuseForeign(section: string, values: unknown, preset: R1Settings): void {
  const known = Object.keys(preset);
  if (!known.includes(section)) throw unknown(section, known);
  if (isSettings(values) !== isSettings(preset[section as keyof R1Settings]))
    throw fault(section, values, isSettings(values) ? 'a text is expected' : 'an object of settings is expected');
  if (!isSettings(values)) return;
  const always = section === 'base' || section === 'student' ? OF_ALL : OF_TUNING;
  for (const name of [...always, ...(OF_SECTION[section] ?? [])]) {
    const set = valueAt(values, name);
    if (set !== undefined) throw fault(`${section}.${name}`, set, 'the recipe says this itself');
  }
}

const valueAt = (values: Settings, path: string): unknown =>
  path.split('.').reduce<unknown>((inside, key) => (isSettings(inside) ? inside[key] : undefined), values);

type Check = (all: R1Settings, preset: R1Settings) => unknown;

/** Stands for the model that a stage will be given. */
const model = 'model';
const sampled =
  (section: 'coldSamples' | 'samples' | 'distillSamples'): Check =>
  (all) =>
    resolveReject({ ...all.task, ...all[section], model });
const tuned =
  (section: 'cold' | 'sft' | 'distill'): Check =>
  (all) =>
    resolveSft({ ...all[section], model, data: ['data'] });
const count = z.int().min(1);
const evaluation = z.strictObject({
  dtype: z.enum(['f32', 'bf16']),
  questions: count,
  samples: count,
  temperature: z.number().min(0),
  maxTokens: count,
  shown: z.int().min(0),
});
const openingsSchema = z.strictObject({ openings: count });
const text =
  (section: 'chat' | 'tunedTemplate'): Check =>
  (all) => {
    if (typeof all[section] !== 'string' || all[section] === '')
      throw fault(section, all[section], 'a text is expected');
  };

/** Each section is checked as its stage will. */
const CHECKS: Readonly<Record<keyof R1Settings, Check>> = {
  mixture: (all, preset) => sameKinds('mixture', all.mixture!, preset.mixture!),
  evaluation: (all) => checkSettings(evaluation, all.evaluation, 'an evaluation'),
  base: (all) => defineConfig({ ...all.base }),
  student: (all) => defineConfig({ ...all.student }),
  task: (all) => resolveGrpo({ ...all.task, model }),
  zero: (all) => resolveGrpo({ ...all.task, ...all.zero, model }),
  rl1: (all) => resolveGrpo({ ...all.task, ...all.rl1, model }),
  rl2: ({ task, rl2: { preferenceWeight, ...rest } }, preset) => {
    sameKinds('rl2', { preferenceWeight }, preset.rl2);
    resolveGrpo({ ...task, ...rest, model });
  },
  coldSamples: sampled('coldSamples'),
  samples: sampled('samples'),
  distillSamples: sampled('distillSamples'),
  cold: tuned('cold'),
  sft: tuned('sft'),
  distill: tuned('distill'),
  synthetic: ({ synthetic: { openings, ...rest } }) => {
    checkSettings(openingsSchema, { openings }, 'synthesis');
    resolveSynthesize({ ...rest, model, template: 'template', seeds: 'seeds' });
  },
  rewardModel: (all) => resolvePreference(rewardModelSchema, { ...all.rewardModel, model, data: ['data'] }),
  chat: text('chat'),
  tunedTemplate: text('tunedTemplate'),
};

function check(section: keyof R1Settings, all: R1Settings, preset: R1Settings): void {
  try {
    CHECKS[section](all, preset);
  } catch (error) {
    if (!(error instanceof TrainMoeError) || error.message.startsWith('settings.')) throw error;
    throw new TrainMoeError('bad-config', `In settings.${section}: ${error.message}`, { cause: error });
  }
}

/** Settings that no command has a schema for: those of the preset, with values of the same types, and no number below 0. */
function sameKinds(section: string, values: object, preset: object): void {
  const known = new Map(leaves(preset as Settings));
  for (const [name, was] of known) {
    const value = valueAt(values as Settings, name);
    if (isSettings(value))
      throw fault(`${section}.${name}`, value, `a ${typeof was} is expected, as ${JSON.stringify(was)}`);
  }
  for (const [name, value] of leaves(values as Settings)) {
    const path = `${section}.${name}`;
    const was = known.get(name);
    if (was === undefined)
      throw unknown(
        path,
        [...known.keys()].map((other) => `${section}.${other}`),
      );
    if (typeof value !== typeof was) throw fault(path, value, `a ${typeof was} is expected, as ${JSON.stringify(was)}`);
    if (typeof value === 'number' && !(value >= 0 && Number.isFinite(value)))
      throw fault(path, value, 'a number, 0 or more, is expected');
  }
}

const fault = (path: string, value: unknown, expected: string): TrainMoeError =>
  new TrainMoeError('bad-config', `settings.${path} = ${JSON.stringify(value)}: ${expected}.`);

function unknown(path: string, known: readonly string[]): TrainMoeError {
  const meant = suggest(path, new Set(known));
  const instead = meant === undefined ? `there are ${known.join(', ')}.` : `did you mean ${meant}?`;
  return new TrainMoeError('bad-config', `settings.${path}: there is no such setting of r1; ${instead}`);
}
