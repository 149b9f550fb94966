import { TrainMoeError } from '../errors.js';
import type { Model } from '../models/family.js';
import { type PolicyObjective, type PolicyStats, policyLoss, policyStats } from '../ops/policy_loss.js';
import type { AdamW } from '../optim/adamw.js';
import { type Device, differentiate, readLater, scope, tagged } from '../tensor/index.js';
import { breathe } from '../train/run/loop.js';
import type { GrpoConfig } from './config.js';
import { cutByRows, type Packed, pack } from './pack.js';
import { finish, type Pass } from './pass.js';
import type { Graded, Sample } from './sample.js';
import { forwardPacked, type Routes, replayOf, type ScoreOptions } from './score.js';

/** What an update works on. */
export interface Learner {
  readonly model: Model;
  readonly optimizer: AdamW;
  readonly device: Device;
  readonly config: GrpoConfig;
}

/** One optimizer step. */
export interface Update {
  readonly loss: number;
  readonly gradNorm: number;
  readonly lr: number;
  /** Mean over tokens, nats. */
  readonly entropy: number;
  readonly stats: PolicyStats;
  readonly mismatch: Mismatch;
}

/** A running comparison of log-probabilities. */
export interface Mismatch {
  readonly mean: number;
  readonly max: number;
  readonly tokens: number;
}

/** A completion with what was known of it before the first update. */
export interface Experience extends Graded {
  readonly old?: Float32Array | undefined;
  readonly reference?: Float32Array | undefined;
  readonly routes?: Routes | undefined;
}

/**
 * One optimizer step on a mini-batch, in as many forward and backward passes as memory asks for. A sample of advantage 0
 * counts in the means, but without a KL penalty its gradient is 0, so it is not computed; one is, for the log's sake. The host
 * waits once, when all of it is on its way; the device itself forbids an update whose loss or norm is not finite.
 */
export async function update(parts: Learner, batch: readonly Experience[]): Promise<Update> {
  const { config: c, optimizer } = parts;
  const total = { samples: batch.length, tokens: tokensOf(batch), maxTokens: c.maxTokens };
  const telling = c.kl > 0 ? batch : batch.filter(({ advantage }) => advantage !== 0);
  const computed = telling.length > 0 ? telling : batch.slice(0, 1);
  const lr = c.lr * Math.min((optimizer.steps + 1) / Math.max(c.warmup, 1), 1);
  optimizer.prepare(lr);
  optimizer.resetGradients();
  const passes: Pass<PassFigures>[] = [];
  try {
    for (const part of cutByRows(computed, c.rowsAtOnce)) {
      passes.push(tagged('activations', () => scope(() => backward(parts, pack(part), total))));
      await breathe();
    }
    const { loss, gradNorm, finite, figures } = finish(optimizer, passes, c.maxNorm);
    if (!finite)
      throw new TrainMoeError(
        'not-finite',
        `The policy loss is ${loss} and the gradient's norm ${gradNorm}; nothing was updated.`,
      );
    return { ...joinedFigures(figures), loss, gradNorm, lr };
  } finally {
    for (const { loss } of passes) loss.dispose();
  }
}

const tokensOf = (samples: readonly Sample[]): number => samples.reduce((n, s) => n + s.ids.length, 0);

/** The entropy is summed over tokens here. */
type PassFigures = Pick<Update, 'stats' | 'mismatch' | 'entropy'>;

function joinedFigures(passes: readonly PassFigures[]): PassFigures {
  const stats = sumStats(passes.map(({ stats }) => stats));
  return {
    entropy: passes.reduce((sum, { entropy }) => sum + entropy, 0) / stats.tokens,
    stats,
    mismatch: joined(passes.map(({ mismatch }) => mismatch)),
  };
}

/** The loss of one packed part of a mini-batch; gradients are added to the parameters'. */
function backward(
  parts: Learner,
  packed: Packed<Experience>,
  total: { readonly samples: number; readonly tokens: number; readonly maxTokens: number },
): Pass<PassFigures> {
  const { samples, starts, rows } = packed;
  const { config, device, model } = parts;
  const together = (of: (e: Experience) => ArrayLike<number> | undefined) =>
    samples.every((s) => of(s)) ? Float32Array.from(samples.flatMap((s) => Array.from(of(s)!))) : undefined;
  const sampled = together((s) => s.logProbs)!;
  const batch = {
    starts,
    advantages: Float64Array.from(samples, (s) => s.advantage),
    old: together((s) => s.old),
    reference: together((s) => s.reference),
    rollout: sampled,
    total,
  };
  const routes = samples.map((s) => s.routes).filter((r) => r !== undefined);
  const replay = routes.length > 0 ? replayOf(routes, packed.ids.length, device) : undefined;
  const { loss, stats, nll, entropy } = differentiate(() => {
    const out = forwardPacked(model, packed, scoreOptions(parts), {
      replay,
      recompute: config.recompute,
      entropy: true,
    });
    const { loss, stats } = policyLoss(out.nll, rows, batch, objectiveOf(config));
    return { loss, losses: [loss], stats: readLater(stats), nll: readLater(out.nll), entropy: readLater(out.entropy!) };
  });
  return {
    loss,
    read() {
      const [own, spread] = [nll(), entropy()];
      const logProbs = Float32Array.from(rows, (row) => -own[row]!);
      return {
        stats: policyStats(stats()),
        entropy: rows.reduce((sum, row) => sum + spread[row]!, 0),
        mismatch: difference(logProbs, sampled),
      };
    },
  };
}

export const scoreOptions = ({ device, config }: Pick<Learner, 'device' | 'config'>): ScoreOptions => ({
  device,
  temperature: config.temperature,
  rowsAtOnce: config.rowsAtOnce,
});

const objectiveOf = (c: GrpoConfig): PolicyObjective => c;

export function difference(a: ArrayLike<number>, b: ArrayLike<number>): Mismatch {
  let sum = 0;
  let max = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i]! - b[i]!);
    sum += d;
    max = Math.max(max, d);
  }
  return { mean: sum / a.length, max, tokens: a.length };
}

export function joined(parts: readonly Mismatch[]): Mismatch {
  const tokens = parts.reduce((n, p) => n + p.tokens, 0);
  return {
    mean: parts.reduce((sum, p) => sum + p.mean * p.tokens, 0) / Math.max(tokens, 1),
    max: parts.reduce((max, p) => Math.max(max, p.max), 0),
    tokens,
  };
}

export function sumStats(all: readonly PolicyStats[]): PolicyStats {
  const sum = (key: keyof PolicyStats) => all.reduce((total, stats) => total + stats[key], 0);
  return {
    tokens: sum('tokens'),
    clippedLow: sum('clippedLow'),
    clippedHigh: sum('clippedHigh'),
    dualClipped: sum('dualClipped'),
    capped: sum('capped'),
    masked: sum('masked'),
    kl: sum('kl'),
    moved: sum('moved'),
  };
}
