import type { RunConfig } from '../config/index.js';
import { TrainMoeError } from '../errors.js';
import { parametersOf } from '../models/codec.js';
import { contextOf, inLayer, logitsOf, type Model } from '../models/family.js';
import { configOfFolder, loadModel } from '../models/folder.js';
import * as native from '../native.gen.js';
import type { Layout } from '../nn/layout.js';
import { cast } from '../ops/cast.js';
import { crossEntropy } from '../ops/cross_entropy.js';
import { rmsnorm } from '../ops/rmsnorm.js';
import { weightedSum } from '../ops/weighted_sum.js';
import { type Device, empty, noGrad, type Shape, type Tensor, zeros } from '../tensor/index.js';
import { modelFolder } from './run/model_folder.js';

/*
 * A small encoder learns from a large one: Sanh et al., DistilBERT, arXiv:1910.01108, section 2, and the code that came with it.
 *
 *   loss = soft * tau^2 * mean_i KL(softmax(t_i / tau) || softmax(s_i / tau)) + words * CE + cosine * mean_i (1 - cos(h_i, g_i))
 *
 * over all positions i of the same text with the same words hidden, where s and t are the logits of student and teacher, h and g
 * their last hidden states, and CE is the loss on the hidden words.
 */

/** The weights of the parts. */
export type DistillWeights = Readonly<Record<'temperature' | 'soft' | 'words' | 'cosine', number>>;

/** A model that another learns from. */
export interface Teacher extends DistillWeights {
  readonly model: Model;
}

/** What a pass asks of the teacher. */
export interface Lesson {
  /** The positions of the tokens as the teacher counts them. */
  readonly layout: Layout;
  /** One over the tokens of the whole step. */
  readonly each: number;
}

/** Scalars whose sum is the loss; all but `offset` are roots of the backward pass. */
export interface Distilled {
  /** With `offset`, the first part of the loss: what comes of the student, and what is known without it. */
  readonly soft: readonly [Tensor, Tensor];
  readonly offset: Tensor;
  /** The last part but for its 1; absent where it has no weight. */
  readonly cosine: Tensor | undefined;
}

/** The folder of the model that a run learns from; undefined where there is none. */
export const teacherFolder = ({ distill }: Pick<RunConfig, 'distill'>): string | undefined =>
  distill.teacher === undefined ? undefined : modelFolder(distill.teacher);

/** Opens the model that a run learns from, if there is one. */
export function openTeacher({ distill }: Pick<RunConfig, 'distill'>, { dtype }: Model, device: Device) {
  const folder = teacherFolder({ distill });
  return folder === undefined ? undefined : { ...distill, model: loadModel(folder, { device, dtype }) };
}

/**
 * Refuses a teacher that a student cannot follow.
 * @throws TrainMoeError `bad-config`
 */
export function refuseTeacher(
  student: Pick<Model, 'family' | 'config'>,
  run: Pick<RunConfig, 'distill' | 'train'>,
): void {
  const folder = teacherFolder(run);
  if (folder === undefined) return;
  const { family, config } = configOfFolder(folder);
  const refuse = (sentence: string) => {
    throw new TrainMoeError('bad-config', `The teacher in ${folder} ${sentence}`);
  };
  if (!family.encoder) refuse(`is a ${family.name} model; give an encoder, whose students are encoders.`);
  const [own, its] = [student.family.vocabulary(student.config), family.vocabulary(config)];
  if (own !== its) refuse(`has ${its} tokens, the student ${own}; both must have the same.`);
  if (contextOf({ config }) < run.train.length)
    refuse(`reads ${contextOf({ config })} tokens, but train.length = ${run.train.length}; train on shorter rows.`);
  const widths = [student.config, config].map((of) => (of as { readonly hidden: number }).hidden);
  if (run.distill.cosine > 0 && widths[0] !== widths[1])
    refuse(
      `is ${widths[1]} channels wide, the student ${widths[0]}, so that their hidden states cannot be compared; set distill.cosine to 0, or model.hidden to ${widths[1]}.`,
    );
}

/**
 * Gives a student the teacher's weights: all that lie in no layer, and those of layers spread evenly over the teacher's, of twelve for
 * six 0, 2, 4, 7, 9 and 11.
 * @throws TrainMoeError `bad-config` when a weight has another shape there, or none
 */
export function beginAsTeacher(student: Model, teacher: Model): void {
  const [few, many] = [student.family.layers(student.config), teacher.family.layers(teacher.config)];
  const layerOf = (i: number) => (few > 1 ? Math.round((i * (many - 1)) / (few - 1)) : 0);
  const known = new Map(parametersOf(teacher).map(({ path, tensor }) => [path, tensor]));
  for (const { path, tensor } of parametersOf(student)) {
    const layer = inLayer(path);
    const from = layer ? `layers.${layerOf(Number(layer[0]))}.${layer[1]}` : path;
    const weight = known.get(from);
    if (weight?.shape.join() !== tensor.shape.join())
      throw new TrainMoeError(
        'bad-config',
        `The student's ${path} is [${tensor.shape}], ${weight ? `the teacher's [${weight.shape}]` : 'of which the teacher has none'}, so that it cannot begin with it; give the student the teacher's sizes but for its layers, or set distill.begin to false.`,
      );
    tensor.write(weight.read());
  }
}

/** What a student loses against its teacher on ids [T], from its hidden states [T,C]. */
export function distilled<C, W>(
  { family, config, weights }: Pick<Model<C, W>, 'family' | 'config' | 'weights'>,
  hidden: Tensor,
  ids: Tensor,
  teacher: Teacher,
  lesson: Lesson,
): Distilled {
  const { first, pull, direction, offset } = noGrad(() => lessonOf(teacher, ids, lesson));
  const { temperature: tau, soft } = teacher;
  const read = family.encoder!.transform(weights, config, hidden);
  const logits = logitsOf({ family, weights } as unknown as Model, read); // [T,V]
  const nll = crossEntropy(logits, first, 1 / tau);
  const factor = filled(nll.shape, soft * tau * tau * lesson.each, nll);
  return {
    soft: [weightedSum(nll, factor), weightedSum(logits, pull)],
    offset,
    cosine: direction && weightedSum(cast(unit(hidden, 1), 'f32'), direction),
  };
}

/**
 * What of the loss does not depend on the student. The divergence is that of the student's cross-entropy with the teacher's
 * probabilities p: lse(s/tau) - sum_v p_v s_v / tau - H(p). With the loss of token 0 in it, which has lse(s/tau) - s_0 / tau, the rest
 * is linear in s: its factors, `pull`, are the gradient that the loss of token 0 has at the teacher's logits.
 */
function lessonOf({ model, temperature: tau, soft, cosine }: Teacher, ids: Tensor, { layout, each }: Lesson) {
  const { family, config, weights } = model;
  const hidden = family.forward(weights, config, ids, { layout, losses: [] });
  const logits = logitsOf(model, family.encoder!.transform(weights, config, hidden)); // [T,V]
  const rows = logits.shape[0]!;
  const perRow = () => empty([rows], { device: logits.device });
  const [nll, lse, entropy] = [perRow(), perRow(), perRow()] as const;
  const first = zeros([rows], { dtype: 'i32', device: logits.device });
  native.crossEntropyForward(nll, lse, entropy, logits, first, 1 / tau);
  const factor = filled([rows], -soft * tau * tau * each, nll);
  const pull = empty(logits.shape, { device: logits.device });
  native.crossEntropyBackward({ id: pull.id, beta: 0 }, factor, undefined, lse, logits, first, 1 / tau);
  return {
    first,
    pull,
    offset: weightedSum(entropy, factor),
    direction: cosine > 0 ? cast(unit(hidden, -cosine * each), 'f32') : undefined,
  };
}

/** Rows of x [T,C] with the length `length`. */
const unit = (x: Tensor, length: number): Tensor =>
  rmsnorm(x, filled([x.shape[1]!], length / Math.sqrt(x.shape[1]!), x), 1e-12);

function filled(shape: Shape, value: number, like: Tensor): Tensor {
  const t = empty(shape, like);
  native.fill(t, value);
  return t;
}
