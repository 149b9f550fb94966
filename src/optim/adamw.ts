import { TrainMoeError } from '../errors.js';
import * as native from '../native.gen.js';
import {
  type Device,
  empty,
  from,
  keep,
  named,
  device as openDevice,
  permanent,
  resetGradients,
  scope,
  type Tensor,
  tagged,
  zeros,
} from '../tensor/index.js';

/** Settings of AdamW. Decay is decoupled and goes to the parameters that ask for it. */
export interface AdamWConfig {
  /** Decay of the first moment; default 0.9. */
  readonly beta1: number;
  /** Decay of the second moment; default 0.95. */
  readonly beta2: number;
  /** Added to the root of the second moment; default 1e-8. */
  readonly eps: number;
  /** Weight decay; default 0.1. */
  readonly decay: number;
  /** How the moments are kept. DeepSeek-V3 stores both in bf16; u8: 8 bits and a scale to each 256. */
  readonly moments: 'f32' | 'bf16' | 'u8';
  /** true (default): bf16 parameters have f32 masters; false: stochastic rounding instead. */
  readonly master?: boolean;
}

/** What all DeepSeek reports use. */
const DEFAULTS: AdamWConfig = { beta1: 0.9, beta2: 0.95, eps: 1e-8, decay: 0.1, moments: 'f32' };

/** A parameter to be trained; `decay` false leaves weight decay out (gains, biases). */
export interface Trained {
  /** Under which its state is saved. */
  readonly name: string;
  readonly tensor: Tensor;
  /** Weight decay goes to it. */
  readonly decay: boolean;
}

interface Slot extends Trained {
  /** What the updates go to: f32 values, or the parameter itself when it is f32 or has no master. */
  readonly master: Tensor;
  /** By the name they are saved under: m and v; in 8 bits m, root (of v), and their scales m_scale and root_scale. */
  readonly moments: Moments;
}

type Moments = Readonly<Record<string, Tensor>>;

/** Moments that share a scale in 8 bits (kernels/moments.h). */
const MOMENT_BLOCK = 256;

/** Norm of the whole gradient before clipping. */
export interface Clipped {
  readonly norm: number;
}

/**
 * AdamW with decoupled weight decay (Loshchilov & Hutter, arXiv:1711.05101), f32 masters and bias correction. Gradients are
 * read from the parameters; clip() comes between the backward pass and step(). 8-bit moments: Dettmers et al.,
 * arXiv:2110.02861. Without masters bf16 parameters are rounded stochastically, up with the probability of what is cut off. All
 * chance comes from the count of steps and the parameter's place, so a run that is continued draws the same.
 *
 * All parameters are updated by one call. What changes from step to step lies on the device, so the call can be part of a
 * recorded step: prepare() before it, measure() and update() in it, and `steps` counted up when it has happened.
 */
export class AdamW {
  private readonly slots: readonly Slot[];
  private readonly decays: readonly number[]; // by slot
  private readonly rates: Tensor; // [4] learning rate, 1 - beta1^t, 1 - beta2^t, t
  /** The factor that measure() found [1], on the device: NaN when the next update is forbidden. */
  readonly scale: Tensor;
  /** Updates made so far: t in the bias corrections. */
  steps = 0;

  readonly config: AdamWConfig;

  /** @param device that of the parameters */
  constructor(
    parameters: readonly Trained[],
    config: Partial<AdamWConfig> = {},
    private readonly device: Device = parameters[0]?.tensor.device ?? openDevice('cpu'),
  ) {
    this.config = { ...DEFAULTS, ...config };
    this.slots = permanent(() =>
      tagged('optimizer', () => parameters.map((p) => named(p.name, () => makeSlot(p, this.config)))),
    );
    this.decays = parameters.map((p) => (p.decay ? this.config.decay : 0));
    this.scale = keep(from(Float32Array.of(1), [1], { device }));
    this.rates = keep(from(new Float64Array(4), [4], { device }));
  }

  /** Forgets the gradients; the next backward pass starts over. */
  resetGradients(): void {
    resetGradients(this.slots.map((s) => s.tensor));
  }

  /** As measure(), waiting for the norm. */
  clip(max: number): Clipped {
    return scope(() => ({ norm: this.measure(max).item() }));
  }

  /**
   * The global norm over all gradients [1], and the factor min(1, max / (norm + 1e-6)) that the next step applies. With max 0
   * nothing is clipped. Unless the norm, and the losses [L] where they are given, are finite, the next step changes nothing. The
   * sum of squares is taken in f64. All of it stays on the device.
   */
  measure(max: number, losses?: Tensor): Tensor {
    return scope(() => {
      const sum = zeros([1], { dtype: 'f64', device: this.device });
      const gradients = this.gradients().filter((g) => g !== undefined);
      if (gradients.length > 0) native.sumSquares({ id: sum.id, beta: 1 }, gradients);
      const norm = empty([1], { device: this.device });
      native.clipScale(this.scale, norm, sum, losses, max);
      return norm;
    });
  }

  /** One update with that learning rate. Parameters without a gradient since the last reset stay as they are. */
  step(lr: number): void {
    this.prepare(lr);
    this.update();
    this.steps++;
  }

  /** Writes the numbers of the coming update to the device. */
  prepare(lr: number): void {
    const { beta1, beta2 } = this.config;
    const t = this.steps + 1;
    this.rates.write(Float64Array.of(lr, 1 - beta1 ** t, 1 - beta2 ** t, t));
  }

  /** The update that was prepared, all of it on the device. */
  update(): void {
    const { beta1, beta2, eps } = this.config;
    const { slots, decays, scale, rates } = this;
    scope(() => {
      const gradients = this.gradients();
      if (gradients.every((g) => g === undefined)) return;
      const masters = slots.map((s) => s.master);
      const copies = slots.map((s) => (s.master === s.tensor ? undefined : s.tensor));
      const of = (kind: string) => slots.map(({ moments }) => moments[kind]!);
      if (this.config.moments === 'u8') {
        const [m, root, ms, rs] = [of('m'), of('root'), of('m_scale'), of('root_scale')];
        native.adamw8bit(masters, copies, gradients, m, root, ms, rs, decays, scale, rates, beta1, beta2, eps);
      } else native.adamw(masters, copies, gradients, of('m'), of('v'), decays, scale, rates, beta1, beta2, eps);
    });
  }

  /** The values that updates go to: the master, or the parameter where it has none. */
  masterOf(tensor: Tensor): Tensor {
    return this.slots.find((s) => s.tensor === tensor)?.master ?? tensor;
  }

  /** State to be saved, by name: masters of parameters that are not f32, and both moments. */
  state(): [string, Tensor][] {
    return this.slots.flatMap(({ name, tensor, master, moments }) => [
      ...(master === tensor ? [] : ([[`master.${name}`, master]] as [string, Tensor][])),
      ...Object.entries(moments).map(([kind, t]): [string, Tensor] => [`${kind}.${name}`, t]),
    ]);
  }

  /**
   * Restores what state() gave; `read` fills the tensor of that name.
   * @throws TrainMoeError `bad-data` when something is missing.
   */
  restore(steps: number, read: (name: string, into: Tensor) => boolean): void {
    for (const [name, tensor] of this.state())
      if (!read(name, tensor))
        throw new TrainMoeError(
          'bad-data',
          `The optimizer state lacks ${name}; the checkpoint belongs to another model or type.`,
        );
    for (const { tensor, master } of this.slots) if (master !== tensor) native.copy(tensor, master);
    this.steps = steps;
  }

  /** Sets masters from the parameters' values, after weights were loaded. */
  syncMasters(): void {
    for (const { tensor, master } of this.slots) if (master !== tensor) native.copy(master, tensor);
  }

  /** Gives masters and moments back. The parameters stay. */
  dispose(): void {
    for (const { tensor, master, moments } of this.slots) {
      if (master !== tensor) master.dispose();
      for (const t of Object.values(moments)) t.dispose();
    }
    this.scale.dispose();
    this.rates.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** By slot; undefined where none arrived since the last reset. */
  private gradients(): (Tensor | undefined)[] {
    return this.slots.map(({ tensor }) => tensor.gradient?.value(tensor.shape));
  }
}

function makeSlot(p: Trained, config: AdamWConfig): Slot {
  const { tensor } = p;
  const moments = makeMoments(tensor, config.moments);
  if (tensor.dtype === 'f32' || config.master === false) return { ...p, master: tensor, moments };
  const master = empty(tensor.shape, { dtype: 'f32', device: tensor.device });
  native.copy(master, tensor);
  return { ...p, master, moments };
}

function makeMoments({ shape, size, device }: Tensor, dtype: AdamWConfig['moments']): Moments {
  const like = () => zeros(shape, { dtype, device });
  if (dtype !== 'u8') return { m: like(), v: like() };
  const scales = () => zeros([Math.ceil(size / MOMENT_BLOCK)], { device });
  return { m: like(), root: like(), m_scale: scales(), root_scale: scales() };
}
