import * as native from '../native.gen.js';
import { type Held, ownPart } from '../parallel/index.js';
import { empty, permanent, Tensor, tagged } from '../tensor/index.js';

/** A parameter, and what is averaged of it: its master where it has one. */
export interface Averaged {
  /** Under which its average is saved. */
  readonly name: string;
  readonly tensor: Tensor;
  readonly values: Held;
}

/**
 * An exponential moving average of parameters, in f32: average += (1 - decay) * (value - average) after each step. Of values that
 * several ranks have cut, each averages its own.
 */
export class Ema {
  private readonly averages: ReadonlyMap<Tensor, Held>;

  constructor(
    private readonly parameters: readonly Averaged[],
    readonly decay: number,
  ) {
    this.averages = permanent(() =>
      tagged('average', () => new Map(parameters.map(({ tensor, values }) => [tensor, averageOf(values)]))),
    );
  }

  update(): void {
    const pairs = this.parameters.flatMap(({ tensor, values }) => {
      const [own, average] = [ownPart(values), ownPart(this.averages.get(tensor)!)];
      return own && average ? [{ own, average }] : [];
    });
    if (pairs.length === 0) return;
    native.lerp(
      pairs.map((p) => p.average),
      pairs.map((p) => p.own),
      1 - this.decay,
    );
  }

  /** The average of a parameter's values; what has none is itself. */
  of(parameter: Tensor): Held {
    return this.averages.get(parameter) ?? parameter;
  }

  /** To be saved, by name. */
  state(): [string, Held][] {
    return this.parameters.map(({ name, tensor }) => [`ema.${name}`, this.averages.get(tensor)!]);
  }

  dispose(): void {
    for (const average of this.averages.values()) ownPart(average)?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function averageOf(values: Held): Held {
  const own = ownPart(values);
  if (!own) return values;
  const average = empty(own.shape, { device: own.device });
  native.copy(average, own);
  return values instanceof Tensor ? average : values.with(average);
}
