import { createModel, disposeModel, parametersOf } from '../models/codec.js';
import type { Model } from '../models/family.js';
import * as native from '../native.gen.js';
import type { Device, Tensor } from '../tensor/index.js';

/** A frozen copy of a policy, which the KL penalty holds it to. */
export class Reference {
  readonly model: Model;

  constructor(
    private readonly policy: Model,
    device: Device,
  ) {
    this.model = createModel(policy.family, policy.config, { device, dtype: policy.dtype, train: false });
    this.reset();
  }

  /** Becomes the policy as it is now. R1-Zero does so every 400 updates. */
  reset(): void {
    const now = parametersOf(this.policy);
    parametersOf(this.model).forEach(({ tensor }, i) => void native.copy(tensor, now[i]!.tensor));
  }

  /** To be saved, by name. */
  state(): [string, Tensor][] {
    return parametersOf(this.model).map(({ path, tensor }) => [`reference.${path}`, tensor]);
  }

  dispose(): void {
    disposeModel(this.model);
  }
}
