import * as native from '../native.gen.js';
import { empty, permanent, type Tensor, tagged } from '../tensor/index.js';

/** An exponential moving average of parameters, in f32: average += (1 - decay) * (value - average) after each step. */
export class Ema {
  private readonly averages: ReadonlyMap<Tensor, Tensor>;

  constructor(
    private readonly parameters: readonly { readonly name: string; readonly values: Tensor }[],
    readonly decay: number,
  ) {
    this.averages = permanent(() =>
      tagged(
        'average',
        () =>
          new Map(
            parameters.map(({ values }) => {
              const average = empty(values.shape, { device: values.device });
              native.copy(average, values);
              return [values, average];
            }),
          ),
      ),
    );
  }

  update(): void {
    if (this.averages.size === 0) return;
    native.lerp([...this.averages.values()], [...this.averages.keys()], 1 - this.decay);
  }

  /** The average of a parameter's values. */
  of(values: Tensor): Tensor {
    return this.averages.get(values) ?? values;
  }

  /** To be saved, by name. */
  state(): [string, Tensor][] {
    return this.parameters.map(({ name, values }) => [`ema.${name}`, this.averages.get(values)!]);
  }

  dispose(): void {
    for (const average of this.averages.values()) average.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
