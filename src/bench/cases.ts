import { type BenchOptions, expression } from './options.js';
import { type JobName, ownShapes, type ShapeGroup, type ShapeLists, sharedShapes } from './shapes.js';

/** One shape of one job, named for a process of its own. */
export interface CaseName {
  readonly job: JobName;
  readonly shape: { readonly name: string };
  readonly own: boolean;
}

/** Names that a job's rows may carry, beside its own. */
export interface JobNames {
  readonly name: JobName;
  readonly rows?: readonly string[];
}

/** The cases that the options ask for, in the order of the jobs. A job is asked for by its own name or a row's. */
export function casesFor(
  jobs: readonly JobNames[],
  options: Pick<BenchOptions, 'job' | 'shape' | 'smoke'>,
  device: 'cpu' | 'cuda',
): CaseName[] {
  const job = expression(options.job, 'job');
  const shape = expression(options.shape, 'shape');
  return jobs
    .filter(({ name, rows = [] }) => [name, ...rows].some((asked) => job.test(asked)))
    .flatMap(({ name }) =>
      [sharedShapes, ownShapes].flatMap((lists) =>
        shapesOf(lists, name, device)
          .filter((s) => shape.test(s.name))
          .map((s) => ({ job: name, shape: options.smoke ? shrink(s) : s, own: lists === ownShapes })),
      ),
    );
}

/** The shapes of a job. */
export function shapesOf(
  groups: Readonly<Record<ShapeGroup, ShapeLists>>,
  job: JobName,
  device: 'cpu' | 'cuda',
): readonly { readonly name: string }[] {
  return [...(groups[device][job] ?? []), ...(groups.text[job] ?? [])];
}

/** What a size becomes when nothing is to be measured. */
const LIMITS: Readonly<Record<string, number>> = {
  tokens: 64,
  rows: 64,
  vocab: 512,
  seq: 64,
  kv: 64,
  m: 64,
  n: 64,
  k: 64,
  params: 100_000,
  bytes: 1 << 20,
  batch: 2,
  hidden: 64,
  inner: 32,
  heads: 2,
  prompt: 8,
  new: 8,
  largest: 64,
};

/** The same shape, small enough to run anywhere. */
export function shrink<S extends object>(shape: S): S {
  const entries = Object.entries(shape).map(([key, value]) => {
    const limit = LIMITS[key];
    return [key, limit !== undefined && typeof value === 'number' ? Math.min(value, limit) : value];
  });
  return Object.fromEntries(entries) as S;
}
