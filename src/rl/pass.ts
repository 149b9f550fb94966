import * as native from '../native.gen.js';
import type { AdamW } from '../optim/adamw.js';
import { empty, readLater, scope, type Tensor } from '../tensor/index.js';

/** One forward and backward pass on its way. */
export interface Pass<F> {
  /** [1] */
  readonly loss: Tensor;
  /** Waits for its figures; call it once. */
  readonly read: () => F;
}

/** What passes came to. Unless loss and norm are finite, nothing was updated. */
export interface Finished<F> {
  readonly loss: number;
  readonly gradNorm: number;
  readonly finite: boolean;
  readonly figures: readonly F[];
}

/**
 * Ends an optimizer step that was prepared, after its passes: the gradient's norm, clipping, AdamW. The host waits here, once, when
 * all of it is on its way, for losses, norm and figures together; the device itself forbids an update that is not finite.
 */
export function finish<F>(optimizer: AdamW, passes: readonly Pass<F>[], maxNorm: number): Finished<F> {
  const [readLosses, readNorm] = scope(() => {
    const losses = empty([passes.length], { dtype: 'f64', device: passes[0]!.loss.device });
    native.stack(
      losses,
      passes.map(({ loss }) => loss),
    );
    return [readLater(losses), readLater(optimizer.measure(maxNorm, losses))];
  });
  optimizer.update();
  const figures = passes.map(({ read }) => read());
  const loss = (readLosses() as Float64Array).reduce((sum, part) => sum + part, 0);
  const gradNorm = readNorm()[0]!;
  const finite = Number.isFinite(loss) && Number.isFinite(gradNorm);
  if (finite) optimizer.steps++;
  return { loss, gradNorm, finite, figures };
}
