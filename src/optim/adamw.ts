import { TrainMoeError } from '../errors.js';
import * as native from '../native.gen.js';
import {
  type Device,
  empty,
  from,
  keep,
  permanent,
  resetGradients,
  scope,
  type Tensor,
  tagged,
  zeros,
} from '../tensor/index.js';

export interface AdamWConfig {
  readonly beta1: number; // 0.9
  readonly beta2: number; // 0.95 in all DeepSeek reports
  readonly eps: number; // 1e-8
  readonly decay: number; // 0.1, decoupled, on matrices
  readonly moments: 'f32' | 'bf16' | 'u8'; // DeepSeek-V3 stores both in bf16; u8: 8 bits and a scale to each 256
  readonly master?: boolean; // true: bf16 parameters have f32 masters; false: they are rounded at random instead
}

/** A parameter to be trained; `decay` false leaves weight decay out (gains, biases). */
export interface Trained {
  readonly name: string;
  readonly tensor: Tensor;
  readonly decay: boolean;
}

interface Slot extends Trained {
  /** What the updates go to: f32 values, or the parameter itself when it is f32 or has no master. */
  readonly master: Tensor;
  /** The moments and, in 8 bits, their scales, by the name they are saved under; v is kept as its root in 8 bits. */
  readonly moments: Moments;
}

type Moments =
  | { readonly m: Tensor; readonly v: Tensor }
  | { readonly m: Tensor; readonly root: Tensor; readonly m_scale: Tensor; readonly root_scale: Tensor };

/** Moments that share a scale in 8 bits (kernels/moments.h). */
const MOMENT_BLOCK = 256;

/** Norm of the whole gradient before clipping. */
export interface Clipped {
  readonly norm: number;
}

/**
 * AdamW with decoupled weight decay (Loshchilov & Hutter, arXiv:1711.05101), f32 masters and bias correction. Gradients are
 * read from the parameters; clip() comes between the backward pass and step(). 8-bit moments: Dettmers et al.,
 * arXiv:2110.02861. Without masters bf16 parameters are rounded at random, up with the probability of what is cut off. All
 * chance comes from the count of steps and the parameter's place, so a run that is continued draws the same.
 */
export class AdamW {
  private readonly slots: readonly Slot[];
  private readonly scale: Tensor; // [1] factor that clipping found
  /** Updates made so far: t in the bias corrections. */
  steps = 0;

  constructor(
    parameters: readonly Trained[],
    readonly config: AdamWConfig,
    private readonly device: Device,
  ) {
    this.slots = permanent(() => tagged('optimizer', () => parameters.map((p) => makeSlot(p, config))));
    this.scale = keep(from(Float32Array.of(1), [1], { device }));
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
   * nothing is clipped. The sum of squares is taken in f64. All of it stays on the device.
   */
  measure(max: number): Tensor {
    return scope(() => {
      const sum = zeros([1], { dtype: 'f64', device: this.device });
      for (const g of this.gradients()) native.sumSquares({ id: sum.id, beta: 1 }, g);
      const norm = empty([1], { device: this.device });
      native.clipScale(this.scale, norm, sum, max);
      return norm;
    });
  }

  /** One update with that learning rate. Parameters without a gradient since the last reset stay as they are. */
  step(lr: number): void {
    this.steps++;
    const { beta1, beta2, eps, decay } = this.config;
    const correction1 = 1 - beta1 ** this.steps;
    const correction2 = 1 - beta2 ** this.steps;
    scope(() => {
      this.slots.forEach(({ tensor, master, moments, decay: decays }, place) => {
        const g = tensor.gradient?.value(tensor.shape);
        if (!g) return;
        const copy = master === tensor ? undefined : tensor;
        const own = decays ? decay : 0;
        const seed = this.steps * this.slots.length + place;
        if ('v' in moments) {
          const { m, v } = moments;
          native.adamw(master, copy, g, m, v, this.scale, lr, beta1, beta2, eps, own, correction1, correction2, seed);
        } else {
          const { m, root, m_scale: ms, root_scale: rs } = moments;
          const { scale } = this;
          native.adamw8bit(
            master,
            copy,
            g,
            m,
            root,
            ms,
            rs,
            scale,
            lr,
            beta1,
            beta2,
            eps,
            own,
            correction1,
            correction2,
            seed,
          );
        }
      });
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

  dispose(): void {
    for (const { tensor, master, moments } of this.slots) {
      if (master !== tensor) master.dispose();
      for (const t of Object.values(moments)) t.dispose();
    }
    this.scale.dispose();
  }

  private *gradients(): Generator<Tensor> {
    for (const { tensor } of this.slots) {
      const g = tensor.gradient?.value(tensor.shape);
      if (g) yield g;
    }
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
