import { join } from 'node:path';
import { defineConfig, type RunConfig, type RunConfigInput } from '../config/index.js';
import { TrainMoeError } from '../errors.js';
import { folderSink, writeText } from '../hub/byte_sink.js';
import { type GrpoInput, resolveGrpo } from '../rl/config.js';
import {
  type CurateEnd,
  type CurateEvent,
  type CurateHooks,
  type RejectInput,
  reject,
  resolveReject,
  resolveSynthesize,
  type SynthesizeInput,
  synthesize,
} from '../rl/curate/index.js';
import type { GrpoEvent } from '../rl/events.js';
import { openJudged } from '../rl/open.js';
import { type RewardModelInput, resolvePreference, rewardModelSchema } from '../rl/preference/config.js';
import type { PreferenceEvent } from '../rl/preference/events.js';
import { pairwiseSubject } from '../rl/preference/reward_model.js';
import { learnPreferences } from '../rl/preference/run.js';
import { grpo } from '../rl/run.js';
import { createTask } from '../rl/tasks/index.js';
import type { Tokenizer } from '../tokenizer/index.js';
import type { RunEnd, TrainEvent } from '../train/events.js';
import { pretrainInWorker } from '../train/in_worker.js';
import { modelFolder } from '../train/run/model_folder.js';
import { resolveSft, type SftInput } from '../train/sft/config.js';
import type { SftEvent } from '../train/sft/events.js';
import { sft } from '../train/sft/run.js';
import { CONTINUE, DATA } from './lessons.js';
import { type Measured, measure } from './measure.js';
import type { R1Config, R1Settings } from './settings.js';
import { type Finished, type Input, type Json, runStage, type Stage, type StageEvent } from './stages.js';

/** What happens in a recipe, in the order it happens. */
export type R1Event =
  | StageEvent
  | { readonly kind: 'note'; readonly sentence: string }
  | { readonly kind: 'train'; readonly stage: string; readonly event: TrainEvent }
  | { readonly kind: 'grpo'; readonly stage: string; readonly event: GrpoEvent }
  | { readonly kind: 'sft'; readonly stage: string; readonly event: SftEvent }
  | { readonly kind: 'curate'; readonly stage: string; readonly event: CurateEvent }
  | { readonly kind: 'preference'; readonly stage: string; readonly event: PreferenceEvent };

/** How a program watches and stops the recipe. */
export interface R1Hooks {
  readonly onEvent?: (event: R1Event) => void;
  /** Aborted, it saves after the step that runs and ends; the same command goes on from there. */
  readonly signal?: AbortSignal;
  /** How pre-training is run; by default in a worker thread, so that signals and the terminal are heard. */
  readonly pretrain?: (config: RunConfig, onEvent: (event: TrainEvent) => void, signal: AbortSignal) => Promise<RunEnd>;
}

/** A recipe in progress: its settings, and its kinds of stages, each one call of a public function. */
export interface Session {
  readonly config: R1Config;
  readonly signal: AbortSignal;
  readonly tell: (event: R1Event) => void;
  readonly pretrain: NonNullable<R1Hooks['pretrain']>;
}

/** A finished stage whose folder holds a model. */
export type ModelStage = Finished & { readonly model: string };

export function openSession(config: R1Config, hooks: R1Hooks): Session {
  return {
    config,
    signal: hooks.signal ?? new AbortController().signal,
    tell: hooks.onEvent ?? (() => {}),
    pretrain: hooks.pretrain ?? pretrainInWorker,
  };
}

/**
 * A stage of this recipe.
 * @throws the signal's reason when the recipe was asked to stop; `out-of-memory` with the stage, and where its settings are
 */
export async function stage<T extends Json>(s: Session, spec: Stage<T>): Promise<Finished<T>> {
  s.signal.throwIfAborted();
  try {
    return await runStage(s.config.options.out, spec, s.tell);
  } catch (error) {
    throw error instanceof TrainMoeError && error.code === 'out-of-memory' ? inStage(spec.name, error) : error;
  }
}

/** The flags that the error names are those of the stage's own command. */
function inStage(name: string, error: TrainMoeError): TrainMoeError {
  const section = name.startsWith('measure-') ? 'evaluation' : SECTIONS[name];
  const spelled = `where --rows-at-once is "rowsAtOnce" and --train.rows is "train":{"rows":...}`;
  const how = section ? ` r1 takes such settings as JSON: --settings '{"${section}":{...}}', ${spelled}.` : '';
  return new TrainMoeError('out-of-memory', `In the stage ${name}: ${error.message}${how}`, { cause: error });
}

/** The section of the settings that a stage follows. */
const SECTIONS: Readonly<Record<string, keyof R1Settings>> = {
  base: 'base',
  student: 'student',
  zero: 'zero',
  'zero-answers': 'coldSamples',
  cold: 'cold',
  rl1: 'rl1',
  answers: 'samples',
  synthetic: 'synthetic',
  sft: 'sft',
  'reward-model': 'rewardModel',
  rl2: 'rl2',
  'rl2-answers': 'distillSamples',
  control: 'distill',
  distilled: 'distill',
};

/** Pre-training from text files. */
export async function pretrainStage(
  s: Session,
  name: string,
  settings: Omit<RunConfigInput, 'out' | 'device' | 'threads'>,
  from: { readonly inputs: readonly Input[]; readonly sources: readonly string[]; readonly tokenizer?: string },
): Promise<ModelStage> {
  const { seed, device, threads } = s.config.options;
  const run = async (out: string) => {
    const config = defineConfig({
      ...settings,
      data: { ...settings.data, sources: from.sources },
      train: { ...settings.train, seed },
      ...(from.tokenizer !== undefined && { tokenizer: { path: from.tokenizer } }),
      ...(threads !== undefined && { threads }),
      device,
      out,
    });
    const end = await s.pretrain(config, (event) => s.tell({ kind: 'train', stage: name, event }), s.signal);
    if (end.stopped) s.signal.throwIfAborted();
    return { steps: end.step };
  };
  return withModel(await stage(s, { name, settings: plain({ ...settings, seed }), inputs: from.inputs, run }));
}

/** Reinforcement learning from a model; a reward model, where there is one, is the last of the rewards. */
export async function grpoStage(
  s: Session,
  name: string,
  from: ModelStage,
  settings: Partial<GrpoInput>,
  judge?: ModelStage,
): Promise<ModelStage> {
  const { seed, device, threads } = s.config.options;
  const asked = { ...s.config.settings.task, evaluateQuestions: 0, ...settings, seed };
  const chosen = { ...asked, reward: await rewardsOf(asked) };
  const run = async (out: string) => {
    const reward = [...chosen.reward, ...(judge ? [`model:${judge.model}`] : [])];
    const config = resolveGrpo({ ...chosen, reward, model: from.model, device, threads, out });
    const end = await grpo(config, (c, tokenizer) => openJudged(c, tokenizer), {
      onEvent: (event) => s.tell({ kind: 'grpo', stage: name, event }),
      shouldStop: () => s.signal.aborted,
    });
    if (end.stopped) s.signal.throwIfAborted();
    return { steps: end.step };
  };
  return withModel(await stage(s, { name, settings: plain(chosen), inputs: judge ? [from, judge] : [from], run }));
}

/** Supervised fine-tuning of a model on the conversations of a stage. */
export async function sftStage(
  s: Session,
  name: string,
  from: ModelStage,
  data: Finished,
  settings: Partial<SftInput>,
): Promise<ModelStage> {
  const { seed, device, threads } = s.config.options;
  const { chat } = s.config.settings;
  const chosen = { ...settings, ...(chat !== undefined && { template: chat }), seed };
  const run = async (out: string) => {
    const from1 = { model: from.model, data: [join(data.folder, DATA)], device, threads, out };
    const end = await sft(resolveSft({ ...chosen, ...from1 }), {
      onEvent: (event) => s.tell({ kind: 'sft', stage: name, event }),
      shouldStop: () => s.signal.aborted,
    });
    if (end.stopped) s.signal.throwIfAborted();
    return { steps: end.step };
  };
  return withModel(await stage(s, { name, settings: plain(chosen), inputs: [from, data], run }));
}

/** Right and well-formed answers of a model to training questions, as conversations. */
export async function rejectStage(
  s: Session,
  name: string,
  from: ModelStage,
  settings: Partial<RejectInput>,
): Promise<Finished<{ kept: number }>> {
  const { seed, device, threads } = s.config.options;
  const asked = { ...s.config.settings.task, ...settings, seed };
  const chosen = { ...asked, reward: await rewardsOf(asked) };
  const run = async (out: string) => {
    const end = await reject(
      resolveReject({ ...chosen, model: from.model, device, threads, out }),
      curateHooks(s, name),
    );
    if (end.stopped) s.signal.throwIfAborted();
    if (end.kept === 0) throw nothingKept(name, from, end);
    return { kept: end.kept };
  };
  return stage(s, { name, settings: plain(chosen), inputs: [from], run });
}

function nothingKept(name: string, from: ModelStage, { sampled, dropped }: CurateEnd): TrainMoeError {
  const reasons = Object.entries(dropped).map(([reason, count]) => `${count} ${reason}`);
  return new TrainMoeError(
    'bad-data',
    `The stage ${name} kept none of ${sampled} answers of the model of ${from.name} (${reasons.join(', ')}), so that there is ` +
      `nothing to teach the next one with; train ${from.name} for longer, start from a stronger base (--base), or take an easier task (--task).`,
  );
}

/** What a model makes of texts that have nothing to do with the task, as conversations. */
export function synthesizeStage(
  s: Session,
  name: string,
  from: ModelStage,
  texts: { readonly input: Input; readonly openings: () => readonly object[] },
  settings: Partial<SynthesizeInput>,
): Promise<Finished<{ kept: number }>> {
  const { seed, device, threads } = s.config.options;
  const run = async (out: string) => {
    const files = folderSink(out);
    writeText(files, 'template.json', JSON.stringify(CONTINUE));
    writeText(
      files,
      'seeds.jsonl',
      texts
        .openings()
        .map((row) => `${JSON.stringify(row)}\n`)
        .join(''),
    );
    const from1 = { model: from.model, template: join(out, 'template.json'), seeds: join(out, 'seeds.jsonl') };
    const end = await synthesize(
      resolveSynthesize({ ...settings, ...from1, seed, device, threads, out }),
      curateHooks(s, name),
    );
    if (end.stopped) s.signal.throwIfAborted();
    return { kept: end.kept };
  };
  return stage(s, { name, settings: plain({ ...settings, seed }), inputs: [from, texts.input], run });
}

/** A reward model, trained from a model on preferred answers. */
export async function rewardModelStage(
  s: Session,
  name: string,
  from: ModelStage,
  pairs: { readonly inputs: readonly Input[]; readonly files: readonly string[] },
  settings: Partial<RewardModelInput>,
): Promise<ModelStage> {
  const { seed, device, threads } = s.config.options;
  const { chat } = s.config.settings;
  const chosen = { ...settings, ...(chat !== undefined && { chatTemplate: chat }), seed };
  const run = async (out: string) => {
    const config = resolvePreference(rewardModelSchema, {
      ...chosen,
      model: from.model,
      data: pairs.files,
      device,
      threads,
      out,
    });
    const end = await learnPreferences(pairwiseSubject, config, {
      onEvent: (event) => s.tell({ kind: 'preference', stage: name, event }),
      shouldStop: () => s.signal.aborted,
    });
    if (end.stopped) s.signal.throwIfAborted();
    return { steps: end.step };
  };
  return withModel(await stage(s, { name, settings: plain(chosen), inputs: [from, ...pairs.inputs], run }));
}

const curateHooks = (s: Session, name: string): CurateHooks => ({
  onEvent: (event) => s.tell({ kind: 'curate', stage: name, event }),
  shouldStop: () => s.signal.aborted,
});

/** Held-out questions put to a model; the judges are the task's for right or wrong, the format, and the language. */
export function measureStage(s: Session, of: ModelStage, template: GrpoInput['template']): Promise<Finished<Measured>> {
  const { task, evaluation } = s.config.settings;
  const { device, threads } = s.config.options;
  const asked = { ...task, template };
  const run = async () => {
    const reward = await rewardsOf({ ...asked, reward: ['format', 'language'] });
    const open = (tokenizer: Tokenizer) =>
      openJudged(resolveGrpo({ ...asked, reward, model: of.model, device }), tokenizer);
    return measure(of.model, open, { ...evaluation, device, threads });
  };
  const name = `measure-${of.name}`;
  return stage<Measured>(s, { name, settings: plain({ ...asked, ...evaluation }), inputs: [of], run });
}

/** The task's first reward, which says right or wrong, and those asked for; without any, all of the task's. */
async function rewardsOf({ task = 'arith', taskOptions, reward }: Pick<GrpoInput, 'task' | 'taskOptions' | 'reward'>) {
  const own = (await createTask(task, taskOptions)).train(0, 0).rewards;
  const names = own.map((one) => (typeof one === 'string' ? one : one.name));
  return reward === undefined ? names : [names[0]!, ...reward];
}

const withModel = (finished: Finished): ModelStage => ({ ...finished, model: modelFolder(finished.folder) });

/** Settings as JSON: what is undefined is left out. */
export const plain = (settings: object): Json => JSON.parse(JSON.stringify(settings)) as Json;
