import { TrainMoeError } from '../errors.js';
import * as native from '../native.gen.js';
import { type Communicator, cutShards, type Held, type Piece, type Shard } from '../parallel/index.js';
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
import { heldOf, makeSlot, type Slot, shardOf } from './slots.js';

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
 * With several ranks (ZeRO-1, the distributed optimizer of Megatron-LM) each holds masters and moments of its shard of all
 * parameters: gradients are summed into the shards, each rank updates its own, and all get the updated parameters. What is drawn
 * by chance then goes by places in the shards.
 *
 * All parameters are updated by one call. What changes from step to step lies on the device, so the call can be part of a
 * recorded step: prepare() before it, measure() and update() in it, and `steps` counted up when it has happened.
 */
export class AdamW {
  private readonly slots: readonly Slot[]; // of all parameters, or of the shards of this rank
  private readonly shards: readonly (readonly Shard[])[]; // by parameter; none on one rank
  private readonly decays: readonly number[]; // by slot
  private readonly rates: Tensor; // [4] learning rate, 1 - beta1^t, 1 - beta2^t, t
  /** The factor that measure() found [1], on the device: NaN when the next update is forbidden. */
  readonly scale: Tensor;
  /** Updates made so far: t in the bias corrections. */
  steps = 0;

  readonly config: AdamWConfig;

  /** @param device that of the parameters */
  constructor(
    private readonly parameters: readonly Trained[],
    config: Partial<AdamWConfig> = {},
    private readonly device: Device = parameters[0]?.tensor.device ?? openDevice('cpu'),
    /** Those that train together; all make the same calls. */
    private readonly ranks?: Communicator,
  ) {
    this.config = { ...DEFAULTS, ...config };
    const sizes = parameters.map(({ tensor }) => tensor.size);
    this.shards = ranks ? cutShards(sizes, ranks.size) : [];
    const own = (i: number) => this.shards[i]!.filter(({ owner }) => owner === ranks?.rank);
    const slotsOf = (p: Trained, i: number) =>
      ranks ? own(i).map((shard) => makeSlot(p, this.config, shard)) : [makeSlot(p, this.config)];
    this.slots = permanent(() =>
      tagged('optimizer', () => parameters.flatMap((p, i) => named(p.name, () => slotsOf(p, i)))),
    );
    this.decays = this.slots.map((s) => (s.decay ? this.config.decay : 0));
    this.scale = keep(from(Float32Array.of(1), [1], { device }));
    this.rates = keep(from(new Float64Array(4), [4], { device }));
  }

  /** Forgets the gradients; the next backward pass starts over. */
  resetGradients(): void {
    resetGradients(this.parameters.map((p) => p.tensor));
  }

  /** Sums the gradients over the ranks, each shard where it is updated: before measure(). On one rank there is nothing to do. */
  reduceGradients(): void {
    const { ranks } = this;
    if (!ranks) return;
    scope(() => {
      const gradients = this.pieces(({ tensor }) => tensor.gradient?.value(tensor.shape));
      ranks.reduceScatter(gradients, 'sum', 'sum of the gradients');
    });
  }

  /** As measure(), waiting for the norm. */
  clip(max: number): Clipped {
    return scope(() => ({ norm: this.measure(max).item() }));
  }

  /**
   * The global norm over all gradients [1], and the factor min(1, max / (norm + 1e-6)) that the next step applies. With max 0
   * nothing is clipped. Unless the norm, and the losses [L] where they are given, are finite, the next step changes nothing. The
   * sum of squares is taken in f64. All of it stays on the device, unless there are several ranks.
   */
  measure(max: number, losses?: Tensor): Tensor {
    return scope(() => {
      const sum = zeros([1], { dtype: 'f64', device: this.device });
      const gradients = this.gradients().filter((g) => g !== undefined);
      if (gradients.length > 0) native.sumSquares({ id: sum.id, beta: 1 }, gradients);
      this.ranks?.allReduce([sum], 'sum', 'norm of the gradient');
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
    this.updateOwn();
    const { ranks } = this;
    if (ranks)
      scope(() =>
        ranks.allGather(
          this.pieces(({ tensor }) => tensor),
          'updated parameters',
        ),
      );
  }

  private updateOwn(): void {
    const { beta1, beta2, eps } = this.config;
    const { slots, decays, scale, rates } = this;
    scope(() => {
      const gradients = this.gradients();
      if (gradients.every((g) => g === undefined)) return;
      const masters = slots.map((s) => s.master);
      const copies = slots.map((s) => (s.direct ? undefined : valuesOf(s)));
      const of = (kind: string) => slots.map(({ moments }) => moments[kind]!);
      if (this.config.moments === 'u8') {
        const [m, root, ms, rs] = [of('m'), of('root'), of('m_scale'), of('root_scale')];
        native.adamw8bit(masters, copies, gradients, m, root, ms, rs, decays, scale, rates, beta1, beta2, eps);
      } else native.adamw(masters, copies, gradients, of('m'), of('v'), decays, scale, rates, beta1, beta2, eps);
    });
  }

  /** The values that updates go to: the master, or the parameter where it has none. */
  masterOf(tensor: Tensor): Held {
    const i = this.parameters.findIndex((p) => p.tensor === tensor);
    return (i < 0 ? undefined : this.held(i).master) ?? tensor;
  }

  /** State to be saved, by name: masters of parameters that are not f32, and both moments. */
  state(): [string, Held][] {
    return this.parameters.flatMap(({ name }, i) =>
      Object.entries(this.held(i)).map(([kind, t]): [string, Held] => [`${kind}.${name}`, t]),
    );
  }

  /** What is saved of a parameter, by kind. */
  private held(i: number): Readonly<Record<string, Held>> {
    const parameter = this.parameters[i]!;
    const slot = this.ranks ? this.slots.find(({ tensor }) => tensor === parameter.tensor) : this.slots[i];
    if (this.ranks) return heldOf(parameter, slot, this.config, this.shards[i]!, this.ranks);
    const { direct, master, moments } = slot!;
    return direct ? moments : { master, ...moments };
  }

  /**
   * Restores what state() gave; `read` fills the tensor of that name. Parameters get the values of their masters; one that several
   * ranks have cut gets those of this rank's shard only, and is to be read whole before.
   * @throws TrainMoeError `bad-data` when something is missing.
   */
  restore(steps: number, read: (name: string, into: Held) => boolean): void {
    for (const [name, tensor] of this.state())
      if (!read(name, tensor))
        throw new TrainMoeError(
          'bad-data',
          `The optimizer state lacks ${name}; the checkpoint belongs to another model or type.`,
        );
    scope(() => {
      for (const slot of this.slots) if (!slot.direct) native.copy(valuesOf(slot), slot.master);
    });
    this.steps = steps;
  }

  /** Sets masters from the parameters' values, after weights were loaded. */
  syncMasters(): void {
    scope(() => {
      for (const slot of this.slots) if (!slot.direct) native.copy(slot.master, valuesOf(slot));
    });
  }

  /** Gives masters and moments back. The parameters stay. */
  dispose(): void {
    for (const { tensor, master, moments } of this.slots) {
      if (master !== tensor) master.dispose(); // a window on a parameter leaves that alone
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
    return this.slots.map(({ tensor, shard }) => {
      const gradient = tensor.gradient?.value(tensor.shape);
      return gradient && shard ? shardOf(gradient, shard) : gradient;
    });
  }

  /** All shards of the tensors that parameters have, as their owners get or give them. */
  private pieces(of: (parameter: Trained) => Tensor | undefined): Piece[] {
    return this.parameters.flatMap((p, i) => {
      const tensor = of(p);
      return tensor ? this.shards[i]!.map((shard) => ({ owner: shard.owner, tensor: shardOf(tensor, shard) })) : [];
    });
  }
}

/** The parameter's own values that belong to a slot. */
const valuesOf = ({ tensor, shard }: Slot): Tensor => (shard ? shardOf(tensor, shard) : tensor);
