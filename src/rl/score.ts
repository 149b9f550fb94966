import type { Model } from '../models/family.js';
import { makeLayout } from '../nn/layout.js';
import type { Run } from '../nn/run.js';
import { linearLogProb } from '../ops/cross_entropy.js';
import { type Device, from, noGrad, readLater, type Tensor, tagged } from '../tensor/index.js';
import { cutByRows, type Packed, pack, packedLength } from './pack.js';
import type { Sample } from './sample.js';

/** Experts that the routers chose for the rows of one sample: layer -> [rows * K]. */
export type Routes = ReadonlyMap<number, Int32Array>;

export interface ScoreOptions {
  readonly device: Device;
  readonly temperature: number;
  /** Rows of one forward pass. */
  readonly rowsAtOnce: number;
}

/** What a model thinks of completions it is shown. */
export interface Scores {
  /** Per sample, log pi of its tokens. */
  readonly logProbs: readonly Float32Array[];
  readonly routes: readonly Routes[];
}

/**
 * -log softmax(logits / temperature) of the tokens of a packed batch, [T] f32, where rows without a target are 0; with the
 * entropy of every row. Differentiable when a tape is recording.
 */
export function forwardPacked(
  model: Model,
  packed: Pick<Packed, 'ids' | 'targets' | 'documentStart'>,
  { device, temperature }: Pick<ScoreOptions, 'device' | 'temperature'>,
  extra: Pick<Run, 'onRouting' | 'replay' | 'recompute'> & { readonly entropy?: boolean } = {},
): { readonly nll: Tensor; readonly entropy: Tensor | undefined } {
  const { entropy = false, ...wanted } = extra;
  const length = packed.ids.length;
  const { documentStart } = packed;
  const layout = makeLayout({ rows: 1, length, causal: true, documentStart, device });
  const ids = from(packed.ids, [length], { device });
  const run: Run = { layout, losses: [], ...wanted };
  const hidden = model.family.forward(model.weights, model.config, ids, run); // [T,C]
  const targets = from(packed.targets, [length], { device });
  const { weight, bias } = model.family.head(model.weights);
  return linearLogProb(hidden, weight, targets, { bias, scale: inverse(temperature), entropy });
}

/** 1 / temperature as the sampler has it, who is given the temperature in f32. */
const inverse = (temperature: number): number => 1 / Math.fround(temperature);

/**
 * Log-probabilities of completions without gradients, and the experts chosen on the way where `withRoutes` asks for them. The
 * host waits once all parts are on their way.
 */
export function score(model: Model, samples: readonly Sample[], o: ScoreOptions, withRoutes = false): Scores {
  const parts = cutByRows(samples, o.rowsAtOnce).map((part) => scorePart(model, pack(part), o, withRoutes));
  const scores = parts.map((read) => read());
  return { logProbs: scores.flatMap(({ logProbs }) => logProbs), routes: scores.flatMap(({ routes }) => routes) };
}

/** Begins one part; what it returns waits for the scores. */
function scorePart(model: Model, packed: Packed, o: ScoreOptions, withRoutes: boolean): () => Scores {
  const chosen: { readonly layer: number; readonly read: ReturnType<typeof readLater>; readonly active: number }[] = [];
  const onRouting: Run['onRouting'] = ({ layer, experts }) =>
    chosen.push({ layer, read: readLater(experts), active: experts.shape[1]! });
  const forward = () => readLater(forwardPacked(model, packed, o, withRoutes ? { onRouting } : {}).nll);
  const readNll = tagged('activations', () => noGrad(forward));
  return () => {
    const nll = readNll();
    const logProbs = packed.samples.map((_, i) =>
      Float32Array.from(packed.rows.subarray(packed.starts[i], packed.starts[i + 1]), (row) => -nll[row]!),
    );
    const routes = packed.samples.map(() => new Map<number, Int32Array>());
    for (const { layer, read, active } of chosen) cutRoutes(packed, read() as Int32Array, active, layer, routes);
    return { logProbs, routes };
  };
}

/** Deals the choices of a layer [T,K] out to the samples. */
function cutRoutes(
  packed: Packed,
  chosen: Int32Array,
  active: number,
  layer: number,
  own: readonly Map<number, Int32Array>[],
): void {
  let at = 0;
  packed.samples.forEach((sample, i) => {
    const end = at + packedLength(sample) * active;
    own[i]!.set(layer, chosen.slice(at, end));
    at = end;
  });
}

/** Run.replay for a packed batch whose samples have these routes: the same experts as when they were scored. */
export function replayOf(routes: readonly Routes[], rows: number, device: Device): NonNullable<Run['replay']> {
  return (layer) => {
    const parts = routes.map((r) => r.get(layer));
    if (parts.some((part) => part === undefined)) return undefined;
    const all = new Int32Array(parts.reduce((n, part) => n + part!.length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part!, at);
      at += part!.length;
    }
    return from(all, [rows, all.length / rows], { device });
  };
}
