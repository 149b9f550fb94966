import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { folderSink, writeText } from '../hub/byte_sink.js';
import { createTask } from '../rl/tasks/index.js';
import { formatBytes, formatCount } from '../terminal/format.js';
import { lockRun } from '../train/run/lock.js';
import { modelFolder } from '../train/run/model_folder.js';
import { CORPUS, filesInput, makeCorpus, moreTranscripts, realText } from './corpus.js';
import {
  type Conversation,
  coldStart,
  DATA,
  openings,
  preferencePairs,
  readConversations,
  writeLines,
} from './lessons.js';
import { reportOf } from './report/report.js';
import { type R1End, type R1Row, REPORT } from './rows.js';
import {
  grpoStage,
  type ModelStage,
  measureStage,
  openSession,
  plain,
  pretrainStage,
  type R1Hooks,
  rejectStage,
  rewardModelStage,
  type Session,
  sftStage,
  stage,
  synthesizeStage,
} from './session.js';
import type { R1Config, R1Settings } from './settings.js';
import type { Finished, Input } from './stages.js';

/**
 * From a base model to a reasoning model. DeepSeek-R1, arXiv:2501.12948.
 *
 *     base -> R1-Zero -> right answers, made readable -> cold start: base -> RL 1
 *                                                                             |
 *     RL 2 <- base, fine-tuned <- right answers of RL 1, and other texts  <---+
 *       |
 *       +-> right answers -> a small dense model
 *
 * Each stage has a folder of its own below `out`, is not run again while nothing that it depends on changes, and goes on
 * where it was when it is killed. Every model answers the same held-out questions.
 * @throws TrainMoeError `busy` when another process works in the folder, and whatever the stages throw
 */
export async function r1(config: R1Config, hooks: R1Hooks = {}): Promise<R1End> {
  const began = performance.now();
  const { out } = config.options;
  mkdirSync(out, { recursive: true });
  const lock = lockRun(out);
  const rows: R1Row[] = [];
  const end = (stopped: boolean): R1End => ({ out, stopped, rows, seconds: (performance.now() - began) / 1000 });
  try {
    await stages(openSession(config, hooks), rows);
    writeText(folderSink(out), REPORT, reportOf(config, rows));
    return end(false);
  } catch (error) {
    if (!hooks.signal?.aborted) throw error;
    return end(true);
  } finally {
    lock.release();
  }
}

/** The stages in their order. Every model is measured as soon as it is there. */
async function stages(s: Session, rows: R1Row[]): Promise<void> {
  const { settings } = s.config;
  const tuned = { template: settings.tunedTemplate };
  const show = async (title: string, model: ModelStage, template = settings.tunedTemplate) => {
    rows.push({ name: model.name, title, stage: model, measured: await measureStage(s, model, template) });
    return model;
  };
  const source = await sourceOf(s);

  const base = await show('Base', await baseStage(s, source), settings.task.template);
  const zero = await show('R1-Zero', await grpoStage(s, 'zero', base, settings.zero), settings.task.template);

  const zeroAnswers = await rejectStage(s, 'zero-answers', zero, settings.coldSamples);
  const coldData = await dataStage(s, 'cold-data', [zeroAnswers], ([found]) => coldStart(found!));
  const cold = await show('Cold start', await sftStage(s, 'cold', base, coldData, settings.cold));
  const rl1 = await show('RL 1', await grpoStage(s, 'rl1', cold, { ...settings.rl1, ...tuned }));

  const answers = await rejectStage(s, 'answers', rl1, { ...settings.samples, ...tuned });
  const { openings: most, ...synthetic } = settings.synthetic;
  const texts = { input: source.text, openings: () => openings(source.read(), most) };
  const other = await synthesizeStage(s, 'synthetic', base, texts, synthetic);
  const lessons = await dataStage(s, 'lessons', [answers, other], (parts) => parts.flat());
  const taught = await show('SFT from the base', await sftStage(s, 'sft', base, lessons, settings.sft));

  const judge = await judgeStage(s, taught, answers);
  const { preferenceWeight, ...rl2Settings } = settings.rl2;
  const weights = judge && { rewardWeights: [1, ...(rl2Settings.reward ?? []).map(() => 1), preferenceWeight] };
  const rl2 = await show('RL 2', await grpoStage(s, 'rl2', taught, { ...rl2Settings, ...weights, ...tuned }, judge));

  const student = await studentStage(s, source);
  if (!student) return;
  await show('Student', student);
  const finest = await rejectStage(s, 'rl2-answers', rl2, { ...settings.distillSamples, ...tuned });
  if (source.corpus) {
    const more = await controlStage(s, finest);
    await show('Student, more of the corpus', await sftStage(s, 'control', student, more, settings.distill));
  }
  await show('Student, distilled', await sftStage(s, 'distilled', student, finest, settings.distill));
}

/** A file of conversations made of others. */
function dataStage(
  s: Session,
  name: string,
  from: readonly Finished[],
  make: (parts: readonly Conversation[][]) => readonly object[],
): Promise<Finished<{ readonly rows: number }>> {
  const run = (folder: string) => {
    const parts = from.map((stage) => readConversations(join(stage.folder, DATA)));
    return writeLines(folder, make(parts));
  };
  return stage(s, { name, settings: {}, inputs: from, run });
}

/** A reward model of what people prefer: of the preferences given or, where the corpus is ours, of generated ones. */
async function judgeStage(s: Session, from: ModelStage, answers: Finished): Promise<ModelStage | undefined> {
  const { options, settings } = s.config;
  if (options.preferences.length > 0) {
    const pairs = { inputs: [filesInput('preferences', options.preferences)], files: options.preferences };
    return rewardModelStage(s, 'reward-model', from, pairs, settings.rewardModel);
  }
  if (!settings.mixture) return undefined;
  const pairs = await dataStage(s, 'pairs', [answers], ([found]) => preferencePairs(found!));
  const files = [join(pairs.folder, DATA)];
  return rewardModelStage(s, 'reward-model', from, { inputs: [pairs], files }, settings.rewardModel);
}

/** What a student learns without a teacher: transcripts of the corpus, as much text as the teacher's answers are. */
function controlStage(s: Session, teacher: Finished) {
  const { settings, options } = s.config;
  const run = async (folder: string) => {
    const task = await createTask(settings.task.task ?? 'arith', settings.task.taskOptions);
    const taught = readConversations(join(teacher.folder, DATA)).flatMap(({ messages }) => messages);
    const characters = taught.reduce((sum, { content }) => sum + content.length, 0);
    return writeLines(folder, moreTranscripts(task, settings.mixture!, options.seed, characters));
  };
  const chosen = { mixture: settings.mixture!, task: settings.task, seed: options.seed };
  return stage(s, { name: 'control-data', settings: plain(chosen), inputs: [teacher], run });
}

/** What was taken for text, and how to give one's own. */
function whatIsRead(files: readonly string[], { options, settings }: R1Config): string {
  const bytes = files.reduce((sum, file) => sum + statSync(file).size, 0);
  const given = options.data.length > 0 ? 'given with --data' : `from ${dirname(files[0]!)}; your own: --data`;
  const exercises = settings.mixture
    ? ` and ${formatCount(settings.mixture.transcripts)} made-up exercises, answered with a guess or step by step`
    : '';
  return `Text: ${files.length} files, ${formatBytes(bytes)} (${given})${exercises}.`;
}

/** Where the base's text comes from, and the corpus that is made of it for small models. */
interface Source {
  readonly files: readonly string[];
  readonly text: Input;
  readonly read: () => string;
  readonly corpus: Finished | undefined;
}

async function sourceOf(s: Session): Promise<Source> {
  const { options, settings } = s.config;
  const { mixture, task } = settings;
  const files = realText(options.data, mixture?.textBytes ?? Number.POSITIVE_INFINITY);
  s.tell({ kind: 'note', sentence: whatIsRead(files, s.config) });
  const text = filesInput('text', files);
  const read = () =>
    files
      .slice(0, 64)
      .map((file) => readFileSync(file, 'utf8'))
      .join('\n\n');
  if (!mixture) return { files, text, read, corpus: undefined };
  const corpus = await stage(s, {
    name: 'corpus',
    settings: plain({ mixture, task, seed: options.seed }),
    inputs: [text],
    run: async (folder) => {
      const made = await createTask(task.task ?? 'arith', task.taskOptions);
      return makeCorpus(folder, made, files, mixture, options.seed);
    },
  });
  return { files, text, read, corpus };
}

/** The base: the model given, or one that reads the corpus. */
function baseStage(s: Session, source: Source): Promise<ModelStage> {
  const { base } = s.config.options;
  return base === undefined ? readerStage(s, 'base', source, s.config.settings.base) : givenStage(s, 'base', base);
}

/** The dense model to distil into: the one given, or one that reads the corpus, or none. */
async function studentStage(s: Session, source: Source): Promise<ModelStage | undefined> {
  const { student } = s.config.options;
  if (student !== undefined) return givenStage(s, 'student', student);
  const { settings } = s.config;
  return settings.student && readerStage(s, 'student', source, settings.student);
}

function readerStage(s: Session, name: string, { files, text, corpus }: Source, settings: R1Settings['base']) {
  if (!corpus) return pretrainStage(s, name, settings, { inputs: [text], sources: files });
  const sources = [...files, join(corpus.folder, CORPUS.transcripts)];
  const tokenizer = join(corpus.folder, CORPUS.tokenizer);
  return pretrainStage(s, name, settings, { inputs: [corpus], sources, tokenizer });
}

async function givenStage(s: Session, name: string, path: string): Promise<ModelStage> {
  const model = modelFolder(path);
  const files = readdirSync(model, { withFileTypes: true }).filter((entry) => entry.isFile());
  const given = filesInput('given', files.map((entry) => join(model, entry.name)).sort());
  return { ...(await stage(s, { name, settings: {}, inputs: [given], run: () => null })), model };
}
