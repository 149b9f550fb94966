import { TrainMoeError } from '../errors.js';
import { Engine, endIds } from '../generate/index.js';
import { disposeModel } from '../models/codec.js';
import type { Model } from '../models/family.js';
import { loadDecoder } from '../models/folder.js';
import { addon } from '../native.js';
import type { GrpoConfig } from '../rl/config.js';
import { isRight, judge } from '../rl/judge.js';
import { isSkipped } from '../rl/rewards/types.js';
import { rollout } from '../rl/rollout.js';
import type { Judged } from '../rl/run.js';
import type { Graded, Question } from '../rl/sample.js';
import { score } from '../rl/score.js';
import { chooseDevice, type Device } from '../tensor/index.js';
import { roomOf } from '../tensor/room.js';
import { loadTokenizer, type Tokenizer } from '../tokenizer/index.js';
import { advising } from '../train/fit.js';
import { atOnce, cacheTokens, measureChoices } from './fit.js';

/** How a model answers held-out questions. All are shares of the completions but `length`, in tokens. */
export type Figures = {
  readonly accuracy: number;
  /** Each judge's mean by name, the one for right or wrong included. */
  readonly judged: { readonly [name: string]: number };
  readonly length: number;
  readonly truncated: number;
};

/** What an evaluation of a model found. */
export type Measured = {
  readonly questions: number;
  readonly greedy: Figures;
  /** At the evaluation's temperature; accuracy is pass@1. */
  readonly sampled: Figures;
  /** Share of rows that went to each expert, per routed layer, over the greedy completions and their prompts. */
  readonly loads: readonly (readonly [layer: number, shares: readonly number[]])[];
  readonly shown: readonly { readonly prompt: string; readonly completion: string; readonly right: boolean }[];
};

/** How a model is evaluated. */
export interface MeasureOptions {
  readonly device: GrpoConfig['device'];
  readonly dtype: GrpoConfig['dtype'];
  readonly threads?: number | undefined;
  readonly questions: number;
  /** Sampled completions of each question. */
  readonly samples: number;
  readonly temperature: number;
  readonly maxTokens: number;
  /** Completions kept to be read. */
  readonly shown: number;
}

/** Evaluations always draw the same, so that they differ by the weights alone. */
const SEED = 20_250_120;

/**
 * Puts the first held-out questions to a model, greedily and by sampling. The first reward of the judge says right or wrong.
 * @param folder a Hugging Face folder with its tokenizer
 * @throws TrainMoeError `out-of-memory` with options that would fit, `bad-data` of a task without held-out questions
 */
export async function measure(
  folder: string,
  open: (tokenizer: Tokenizer) => Promise<Judged>,
  o: MeasureOptions,
): Promise<Measured> {
  if (o.threads) addon.setThreads(o.threads);
  const { device } = chooseDevice(o.device);
  const tokenizer = loadTokenizer(folder);
  const judged = await open(tokenizer);
  const model = loadDecoder(folder, { device, dtype: o.dtype });
  try {
    const asked = heldOut(judged, o.questions);
    if (asked.length === 0)
      throw new TrainMoeError(
        'bad-data',
        'The task holds no questions out of training, so no model can be evaluated on it; give it some.',
      );
    const prompt = Math.max(...asked.map(({ ids }) => ids.length));
    return await advising(
      device,
      () => measureChoices(model, prompt, o),
      () => answered({ model, device, tokenizer, judged, asked, prompt }, o),
    );
  } finally {
    disposeModel(model);
    judged.close?.();
  }
}

interface Asked {
  readonly model: Model;
  readonly device: Device;
  readonly tokenizer: Tokenizer;
  readonly judged: Judged;
  readonly asked: readonly Question[];
  /** Tokens of the longest question. */
  readonly prompt: number;
}

async function answered(
  { model, device, tokenizer, judged, asked, prompt }: Asked,
  o: MeasureOptions,
): Promise<Measured> {
  const most = atOnce(model, prompt, o, roomOf(device));
  const engine = new Engine(model, { maxBatch: most.completions, cacheTokens: cacheTokens(prompt, o, most) });
  try {
    const answers = async (group: number, temperature: number) => {
      const options = { group, maxTokens: o.maxTokens, temperature, stopIds: endIds(tokenizer), seed: SEED };
      const sampled = await rollout(engine, tokenizer, asked, options);
      const groups = await judge(sampled, judged.grader, {
        ...o,
        advantage: 'mean',
        overlong: 'keep',
        observe: false,
        overlongBuffer: 1,
      });
      return groups.flatMap(({ samples }) => samples);
    };
    const greedy = await answers(1, 0);
    const sampled = await answers(o.samples, o.temperature);
    const names = judged.grader.rewards.map(({ name }) => name);
    const { routes } = score(model, greedy, { device, temperature: 1, rowsAtOnce: most.rows }, true);
    return {
      questions: asked.length,
      greedy: figuresOf(greedy, names),
      sampled: figuresOf(sampled, names),
      loads: loadShares(routes, model.family.routedExperts(model.config)),
      shown: sampled
        .filter((_, i) => i % o.samples === 0)
        .slice(0, o.shown)
        .map((s) => ({ prompt: s.question.prompt, completion: s.text, right: isRight(s) ?? false })),
    };
  } finally {
    engine.dispose();
  }
}

function heldOut({ source }: Judged, wanted: number): Question[] {
  const found: Question[] = [];
  for (let index = 0; index < wanted; index++) {
    const question = source.test(index);
    if (!question) break;
    found.push(question);
  }
  return found;
}

function figuresOf(samples: readonly Graded[], names: readonly string[]): Figures {
  const verdicts = samples.map(isRight).filter((right) => right !== undefined);
  const means = names.map((name, i) => {
    const values = samples.flatMap(({ results }) => (isSkipped(results[i]!) ? [] : [results[i].value]));
    return [name, mean(values)] as const;
  });
  return {
    accuracy: mean(verdicts.map(Number)),
    judged: Object.fromEntries(means),
    length: mean(samples.map(({ ids }) => ids.length)),
    truncated: mean(samples.map(({ finish }) => Number(finish === 'length'))),
  };
}

/** Counts the choices of the routers. */
export function loadShares(
  routes: readonly ReadonlyMap<number, Int32Array>[],
  expertsOfLayer: readonly number[],
): [number, number[]][] {
  return expertsOfLayer.flatMap((experts, layer): [number, number[]][] => {
    const counts = new Array<number>(experts).fill(0);
    for (const route of routes) for (const expert of route.get(layer) ?? []) counts[expert]!++;
    const total = counts.reduce((a, b) => a + b, 0);
    return total > 0 ? [[layer, counts.map((n) => n / total)]] : [];
  });
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / Math.max(values.length, 1);
