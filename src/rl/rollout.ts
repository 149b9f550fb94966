import { decodeCompletion, Engine, type EngineOptions } from '../generate/index.js';
import { type CacheForm, contextOf, type Model } from '../models/family.js';
import type { Device } from '../tensor/index.js';
import type { Tokenizer } from '../tokenizer/index.js';
import { breathe } from '../train/run/loop.js';
import type { GrpoConfig } from './config.js';
import type { Question, Sample } from './sample.js';

export interface RolloutOptions {
  /** Completions per question. */
  readonly group: number;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly stopIds: readonly number[];
  /** Texts that end a completion and are cut from it. Needs a tokenizer. */
  readonly stop?: readonly string[];
  /** Names the draw: the same seed, questions and weights give the same completions. */
  readonly seed: number;
  /** Told now and then how many tokens there are. */
  readonly onProgress?: ((tokens: number) => void) | undefined;
}

/** A cache for as many completions at once as the settings allow, and for whole groups. */
export function engineOptions(
  c: Pick<GrpoConfig, 'parallel' | 'prompts' | 'group' | 'evaluateSamples' | 'maxTokens' | 'maxPrompt'>,
): EngineOptions {
  const pageSize = 32;
  const atOnce = Math.min(
    Math.max(c.parallel, c.group, c.evaluateSamples),
    c.prompts * Math.max(c.group, c.evaluateSamples),
  );
  const pages =
    atOnce * (Math.ceil(c.maxTokens / pageSize) + 1) + Math.ceil(atOnce / c.group) * Math.ceil(c.maxPrompt / pageSize);
  return {
    cacheTokens: pages * pageSize,
    pageSize,
    maxBatch: atOnce,
    prefillTokens: Math.max(c.maxPrompt, 4096),
  };
}

/** Tokens of the longest prompt that is taken: the settings', as far as the model can still answer. */
export const longestPrompt = ({ maxPrompt }: Pick<GrpoConfig, 'maxPrompt'>, model: Pick<Model, 'config'>): number =>
  Math.min(maxPrompt, contextOf(model) - 1);

/**
 * How a policy that is trained keeps its cache. In f32 on the CPU keys and values are as training computes them, unless the
 * settings say otherwise, so that the log-probabilities of samples have the bits that training finds. Elsewhere bits
 * differ anyway, and latents are smaller.
 */
export const policyCacheForm = (
  { dtype }: Pick<Model, 'dtype'>,
  { kind }: Pick<Device, 'kind'>,
  { exactRollouts }: Pick<GrpoConfig, 'exactRollouts'>,
): CacheForm => (exactRollouts && dtype === 'f32' && kind === 'cpu' ? 'expanded' : 'latent');

/** The engine of a policy that is trained. */
export const policyEngine = (
  model: Model,
  device: Device,
  config: Parameters<typeof engineOptions>[0] & Pick<GrpoConfig, 'exactRollouts'>,
): Engine => new Engine(model, { ...engineOptions(config), cacheForm: policyCacheForm(model, device, config) });

/** Engine steps between two turns of the event loop, so that signals and timers are heard. */
const STEPS_PER_TURN = 8;

/**
 * Samples `group` completions of every question; those of one question share its cache. Sampling is from the policy itself
 * (no top-k or top-p), so that the engine's log-probabilities are those of the distribution that is trained.
 * result[i] belongs to questions[i].
 */
export async function rollout(
  engine: Engine,
  tokenizer: Tokenizer | undefined,
  questions: readonly Question[],
  o: RolloutOptions,
): Promise<Sample[][]> {
  const { group: count, maxTokens, temperature, stopIds, stop = [] } = o;
  const requests = new Map<number, number>();
  const drafts = questions.map((question, i) => {
    const seed = mixed(o.seed, question.index);
    requests.set(engine.submit(question.ids, { count, maxTokens, temperature, stopIds, seed }), i);
    return Array.from({ length: count }, () => ({
      ids: [] as number[],
      logProbs: [] as number[],
      finish: 'length' as Sample['finish'],
      stops: stop.length > 0 && tokenizer ? stopFinder(tokenizer, stop) : undefined,
    }));
  });
  let tokens = 0;
  for (let step = 1; engine.busy; step++) {
    for (const { request, index, id, logprob, finish } of engine.step()) {
      const draft = drafts[requests.get(request)!]![index]!;
      if (id !== undefined) {
        draft.ids.push(id);
        draft.logProbs.push(logprob!);
        tokens++;
      }
      if (finish) draft.finish = finish;
      if (id !== undefined && draft.stops?.(id)) {
        engine.cancel(request, index);
        draft.finish = 'stop';
      }
    }
    if (step % STEPS_PER_TURN > 0) continue;
    o.onProgress?.(tokens);
    await breathe();
  }
  return questions.map((question, i) =>
    drafts[i]!.map(({ ids, logProbs, finish }) => {
      const text = tokenizer ? decodeCompletion(tokenizer, ids, stop) : '';
      return { question, ids, logProbs, finish, text };
    }),
  );
}

/** Takes one token after another; true once one of the texts has come. */
function stopFinder(tokenizer: Tokenizer, stop: readonly string[]): (id: number) => boolean {
  const decoder = tokenizer.stream({ skipSpecial: true });
  const longest = Math.max(...stop.map((text) => text.length));
  let tail = '';
  return (id) => {
    const text = tail + decoder.push(id);
    tail = text.slice(-longest);
    return stop.some((one) => text.includes(one));
  };
}

/** A 31-bit seed from two numbers; completion i of a question uses the seed + i, so neighbours are far apart. */
export function mixed(a: number, b: number): number {
  let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b + 0x7f4a7c15, 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
  return (h ^ (h >>> 15)) >>> 1;
}
