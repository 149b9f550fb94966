import { availableParallelism } from 'node:os';
import { TrainMoeError } from '../../../errors.js';
import { createReward, isPath } from '../registry.js';
import { type Reward, type RewardResult, type RewardSpec, type Sample, skip } from '../types.js';
import { Grader, type GraderOptions } from './grader.js';

/** How many graders there are, and what each may take. */
export interface GradeOptions {
  /** Grader processes. Default: one for each CPU, at most 8. */
  readonly workers?: number;
  /** Deadline of one reward on one sample. */
  readonly timeoutMs?: number;
  /** Deadline of a grader's start, in which it loads the rewards. */
  readonly startMs?: number;
  /** Memory of one grader. */
  readonly memoryMb?: number;
  /** Bytes that a grader may print for one sample. */
  readonly outputBytes?: number;
}

/** Graders that stay, for as long as a run needs them. */
export interface GraderPool {
  /** Graders there are, always as many as asked for. */
  readonly size: number;
  /** Graders replaced so far, after a deadline, a crash or a flood. */
  readonly replaced: number;
  /** results[sample][reward]. Never rejects for what a reward does: the sample it happened to is skipped. */
  grade(samples: readonly Sample[]): Promise<RewardResult[][]>;
  /** Why this problem cannot be graded, or undefined: a fault of the data, to be reported when it is loaded. */
  check(problem: Omit<Sample, 'completion'>): string | undefined;
  close(): void;
}

/**
 * Starts graders that load the rewards. Each reward runs in a process that is killed at its deadline and replaced, so
 * that a hung, crashed or shouting grader costs one sample.
 * @throws TrainMoeError for options out of range, a reward that cannot be loaded, or a sandbox that is missing
 */
export async function openGraders(
  rewards: readonly (string | RewardSpec)[],
  options: GradeOptions = {},
): Promise<GraderPool> {
  const specs = rewards.map((reward) => (typeof reward === 'string' ? { name: reward } : reward));
  const settings = resolve(options);
  // The first grader's start shows whether the modules load, without running the user's code in this process.
  const first = await started(specs, settings);
  if (typeof first === 'string') throw new TrainMoeError('bad-config', `The rewards could not be loaded: ${first}`);
  const builtIn = await Promise.all(specs.filter((spec) => !isPath(spec.name)).map(createReward));
  return new Pool(specs, builtIn, settings, first);
}

/** Judges samples by rewards with graders of their own; results[sample][reward]. See `openGraders`. */
export async function grade(
  samples: readonly Sample[],
  rewards: readonly (string | RewardSpec)[],
  options: GradeOptions = {},
): Promise<RewardResult[][]> {
  const pool = await openGraders(rewards, options);
  try {
    return await pool.grade(samples);
  } finally {
    pool.close();
  }
}

type Settings = Required<GradeOptions>;

function resolve(options: GradeOptions): Settings {
  const settings: Settings = {
    workers: options.workers ?? Math.min(8, availableParallelism()),
    timeoutMs: options.timeoutMs ?? 30_000,
    startMs: options.startMs ?? 30_000,
    memoryMb: options.memoryMb ?? 512,
    outputBytes: options.outputBytes ?? 4 * 2 ** 20,
  };
  for (const [name, given] of Object.entries(settings)) {
    if (!Number.isInteger(given) || given < 1) {
      throw new TrainMoeError(
        'bad-argument',
        `The graders' ${name} is ${given}; it must be a whole number of at least 1.`,
      );
    }
  }
  if (settings.memoryMb < 128) {
    throw new TrainMoeError('bad-argument', `The graders' memoryMb is ${settings.memoryMb}; Node alone needs 128.`);
  }
  return settings;
}

/** A grader with its rewards loaded, or why there is none. */
async function started(rewards: readonly RewardSpec[], settings: Settings): Promise<Grader | string> {
  const options: GraderOptions = { rewards, memoryMb: settings.memoryMb, outputBytes: settings.outputBytes };
  const grader = new Grader(options);
  return (await grader.load(settings.startMs)) ?? grader;
}

class Pool implements GraderPool {
  readonly size: number;
  replaced = 0;
  private closed = false;
  private busy = false;
  private readonly slots: (Grader | undefined)[];

  constructor(
    private readonly specs: readonly RewardSpec[],
    private readonly builtIn: readonly Reward[],
    private readonly settings: Settings,
    first: Grader,
  ) {
    this.size = settings.workers;
    this.slots = Array.from({ length: settings.workers }, (_, i) => (i === 0 ? first : undefined));
  }

  check(problem: Omit<Sample, 'completion'>): string | undefined {
    for (const reward of this.builtIn) {
      const fault = reward.check?.(problem);
      if (fault !== undefined) return `${reward.name}: ${fault}`;
    }
    return undefined;
  }

  async grade(samples: readonly Sample[]): Promise<RewardResult[][]> {
    if (this.closed) throw new TrainMoeError('bad-argument', 'The graders are closed; open them again.');
    if (this.busy)
      throw new TrainMoeError('bad-argument', 'The graders are at work; wait for the samples before these.');
    this.busy = true;
    try {
      const width = this.specs.length;
      const results: RewardResult[][] = samples.map(() => new Array<RewardResult>(width));
      let next = 0;
      const serve = async (slot: number): Promise<void> => {
        while (next < samples.length * width) {
          const job = next++;
          const [row, reward] = [Math.floor(job / width), job % width];
          results[row]![reward] = await this.score(slot, reward, samples[row]!);
        }
      };
      await Promise.all(this.slots.map((_, slot) => serve(slot)));
      return results;
    } finally {
      this.busy = false;
    }
  }

  private async score(slot: number, reward: number, sample: Sample): Promise<RewardResult> {
    if (this.closed) return skip('the graders were closed');
    const grader = this.slots[slot]?.alive ? this.slots[slot] : await this.replace(slot);
    if (typeof grader === 'string') return skip(grader);
    return await grader.score(reward, sample, this.settings.timeoutMs);
  }

  private async replace(slot: number): Promise<Grader | string> {
    if (this.slots[slot] !== undefined) this.replaced++;
    const grader = await started(this.specs, this.settings);
    if (typeof grader !== 'string') {
      this.slots[slot] = grader;
      if (this.closed) grader.kill('the graders were closed');
    }
    return grader;
  }

  close(): void {
    this.closed = true;
    for (const grader of this.slots) grader?.kill('the graders were closed');
  }
}
