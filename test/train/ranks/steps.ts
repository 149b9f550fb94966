import { type Batch, IGNORE, shiftOnce } from '../../../src/data/index.js';
import { createModel, disposeModel, parametersOf, trainedParameters } from '../../../src/models/codec.js';
import { deepseekV3, deepseekV3Presets } from '../../../src/models/deepseek_v3.js';
import type { Model } from '../../../src/models/family.js';
import { llama, llamaPresets } from '../../../src/models/llama.js';
import { AdamW, type AdamWConfig } from '../../../src/optim/adamw.js';
import { type Communicator, cutShards } from '../../../src/parallel/index.js';
import {
  type Device,
  type DeviceKind,
  device,
  gradientOfParameter,
  scope,
  type Tensor,
} from '../../../src/tensor/index.js';
import { window } from '../../../src/tensor/tensor.js';
import { StepGraphs, type StepResult, trainStep } from '../../../src/train/step.js';
import { tinyExperts } from '../../tiny_models.js';

/** Some steps of training that may be done by one process or by several. */
export interface Steps {
  readonly model: 'dense' | 'experts';
  readonly dtype: 'f32' | 'bf16';
  readonly optimizer?: Partial<AdamWConfig>;
  readonly steps: number;
  readonly rows: number;
  readonly accumulate: number;
  readonly graphs: boolean;
  /** Default: the CPU. */
  readonly on?: DeviceKind;
}

/** What comes of them, by name of the parameter where it is of one. */
export interface Trained {
  readonly results: readonly Omit<StepResult, 'loads'>[];
  readonly loads: readonly (readonly [layer: number, load: readonly number[]])[];
  /** Of the last step. */
  readonly gradients: Readonly<Record<string, Float32Array>>;
  readonly parameters: Readonly<Record<string, Float32Array>>;
  readonly state: Readonly<Record<string, Uint8Array>>;
}

const LENGTH = 8;

function modelOf({ model, dtype }: Steps, on: Device): Model {
  const options = { device: on, dtype, seed: 5, train: true } as const;
  if (model === 'dense') {
    const config = { ...llamaPresets['dense-nano'], vocabulary: 64, hidden: 48, layers: 2, heads: 2, keyHeads: 1 };
    return createModel(llama, { ...config, headSize: 8, inner: 80, deviation: 0.2 }, options) as unknown as Model;
  }
  const config = { ...deepseekV3Presets.micro, vocabulary: 64, ...tinyExperts, hidden: 48, mtpLayers: 1 };
  return createModel(deepseekV3, { ...config, deviation: 0.2 }, options) as unknown as Model;
}

/** Rows of which some have few trained tokens, so that a mean of the ranks' means would be another loss. */
function batchOf(step: number, rows: number): Batch {
  let state = 12345 + step;
  const draw = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 26;
  };
  const ids = Int32Array.from({ length: rows * LENGTH }, draw);
  const trained = (r: number) => r % LENGTH < 2 + (Math.floor(r / LENGTH) % (LENGTH - 2));
  const targets = ids.map((_, r) => (trained(r) ? ids[(r + 1) % ids.length]! : IGNORE));
  const trainedTokens = targets.filter((t) => t !== IGNORE).length;
  return { rows, length: LENGTH, ids, targets, documentStart: new Int32Array(ids.length), trainedTokens, bytes: 0 };
}

/** Trains on this process, or with those of the communicator. */
export function train(o: Steps, ranks?: Communicator): Trained {
  const on = device(o.on ?? 'cpu');
  const model = modelOf(o, on);
  const trained = trainedParameters(model);
  const optimizer = new AdamW(trained, { eps: 1e-3, ...o.optimizer }, on, ranks);
  const graphs = o.graphs ? new StepGraphs() : undefined;
  const results: Omit<StepResult, 'loads'>[] = [];
  let loads: StepResult['loads'] = new Map();
  for (let step = 0; step < o.steps; step++) {
    const batch = batchOf(step, o.rows);
    if (shiftOnce(batch).trained === 0) throw new Error('the batch trains no token after the next');
    const mtpWeight = o.model === 'experts' ? 0.3 : 0;
    const options = { device: on, lr: 0.01, clip: 1, accumulate: o.accumulate, mtpWeight, ranks };
    const done = trainStep(
      model,
      optimizer,
      batch,
      { ...options, balance: true, recompute: false, biasSpeed: 0.01 },
      graphs,
    );
    const { loads: found, ...result } = done;
    loads = found;
    results.push(result);
  }
  const out: Trained = {
    results,
    loads: [...loads].map(([layer, load]) => [layer, [...load]]),
    gradients: gradientsOf(trained, ranks),
    parameters: Object.fromEntries(parametersOf(model).map(({ path, tensor }) => [path, tensor.read()])),
    state: Object.fromEntries(optimizer.state().map(([name, held]) => [name, held.readBytes()])),
  };
  graphs?.dispose();
  optimizer.dispose();
  disposeModel(model);
  return out;
}

/** The gradients of the last step; of several ranks each has summed its shard. */
function gradientsOf(trained: readonly { name: string; tensor: Tensor }[], ranks: Communicator | undefined) {
  const shards = cutShards(
    trained.map(({ tensor }) => tensor.size),
    ranks?.size ?? 1,
  );
  return scope(() => {
    const gradients = trained.map(({ tensor }) => gradientOfParameter(tensor)!);
    const pieces = gradients.flatMap((gradient, i) =>
      shards[i]!.map(({ owner, from, to }) => ({ owner, tensor: window(gradient, from, [to - from], [1]) })),
    );
    ranks?.allGather(pieces, 'gradients');
    return Object.fromEntries(trained.map(({ name }, i) => [name, gradients[i]!.read()]));
  });
}
