import { existsSync } from 'node:fs';
import { TrainMoeError } from '../../errors.js';
import { configOfFolder } from '../../models/folder.js';
import { presetNamed } from '../../models/index.js';
import { countParameters } from '../../nn/param.js';
import { modelFolder } from '../../train/run/model_folder.js';

/** What can be said of a model without loading its weights. */
export interface ModelFacts {
  readonly family: string;
  readonly parameters: number;
  readonly activeParameters: number; // in one token's forward pass, without the embedding
  readonly cachePerToken: number; // numbers kept per token over all layers; 0 of an encoder, which does not generate
  readonly bf16Bytes: number;
  readonly config: unknown;
}

/** @throws TrainMoeError when the name is neither a folder with a config.json nor a preset. */
export function modelFacts(name: string): ModelFacts {
  const { family, config } = existsSync(name) ? configOfFolder(modelFolder(name)) : presetOrNothing(name);
  const { key = [], value = [] } = family.cacheShape?.(config, 'latent') ?? {};
  const product = (shape: readonly number[]) => (shape.length === 0 ? 0 : shape.reduce((a, b) => a * b, 1));
  const parameters = countParameters(family.specs(config));
  return {
    family: family.name,
    parameters,
    activeParameters: family.activeParameters(config),
    cachePerToken: family.layers(config) * (product(key) + product(value)),
    bf16Bytes: 2 * parameters,
    config,
  };
}

function presetOrNothing(name: string) {
  try {
    return presetNamed(name);
  } catch (cause) {
    throw new TrainMoeError('not-found', `There is no folder ${name}. ${(cause as Error).message}`, { cause });
  }
}
