import { permutation } from '../../data/index.js';
import { TrainMoeError } from '../../errors.js';
import type { AdamW } from '../../optim/adamw.js';
import { type Schedule, scheduleFactor } from '../../optim/schedule.js';
import { scope, tagged } from '../../tensor/index.js';
import { finish } from '../pass.js';
import type { PreferenceConfig } from './config.js';
import type { Examples, Lesson, Subject } from './lesson.js';
import { cutByTokens } from './pack.js';

/** What a step works on and with. */
export interface Learner<E> {
  readonly subject: Subject<E, never>;
  readonly config: PreferenceConfig;
  readonly optimizer: AdamW;
  readonly examples: Examples<E>;
  readonly lesson: Lesson<E>;
  /** Of the whole run, for the learning rate. */
  readonly steps: number;
}

/** How many examples a run of those epochs goes through. */
export const examplesOf = <E>({ config, examples }: Pick<Learner<E>, 'config' | 'examples'>): number =>
  Math.ceil(config.epochs * examples.train.length);

/**
 * One update, in as many forward and backward passes as memory asks for; its figures.
 * @param seen examples that earlier steps had
 * @throws TrainMoeError `not-finite` before an update that would spoil the weights
 */
export function preferenceStep<E>(
  learner: Learner<E>,
  step: number,
  seen: number,
): { readonly metrics: Readonly<Record<string, number>>; readonly examples: number } {
  const { subject, config: c, lesson, optimizer, examples, steps } = learner;
  const began = performance.now();
  const batch = batchFrom(examples.train, c, seen, Math.min(seen + c.batch, examplesOf(learner)));
  const tokensOf = (example: E) => subject.textsOf(example).reduce((n, { ids }) => n + ids.length, 0);
  const lr = c.lr * scheduleFactor({ kind: c.schedule, warmup: c.warmup, floor: c.floor } as Schedule, step, steps);
  optimizer.prepare(lr);
  optimizer.resetGradients();
  const { loss, gradNorm, finite, figures } = scope(() => {
    const learn = (part: readonly E[]) => tagged('activations', () => lesson.learn(part, batch.length));
    const passes = cutByTokens(batch, tokensOf, c.rowsAtOnce).map(learn);
    return finish(optimizer, passes, c.maxNorm);
  });
  if (!finite)
    throw new TrainMoeError(
      'not-finite',
      `Step ${step + 1}: the loss is ${loss} and the gradient's norm ${gradNorm}; nothing was updated. To go on from the last checkpoint with a lower --lr or --max-norm, give it as --model, and another --out.`,
    );
  const seconds = (performance.now() - began) / 1000;
  const names = Object.keys(figures[0]!);
  const meanOf = (name: string) => figures.reduce((sum, sums) => sum + sums[name]!, 0) / batch.length;
  const metrics = {
    'train/loss': loss,
    ...Object.fromEntries(names.map((name) => [name, meanOf(name)])),
    'train/grad_norm': gradNorm,
    'train/lr': lr,
    'train/epoch': (seen + batch.length) / examples.train.length,
    'speed/tokens_per_second': batch.reduce((n, example) => n + tokensOf(example), 0) / seconds,
    'speed/step_seconds': seconds,
  };
  return { metrics, examples: batch.length };
}

/** The examples of a step: a permutation of all in each epoch; the last batch of a run may be smaller. */
function batchFrom<E>(all: readonly E[], { seed }: Pick<PreferenceConfig, 'seed'>, from: number, to: number): E[] {
  const n = all.length;
  const batch: E[] = [];
  for (let i = from; i < to; i++) batch.push(all[permutation(n, seed, Math.floor(i / n))(i % n)]!);
  return batch;
}
