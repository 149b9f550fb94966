import { z } from 'zod';
import { TrainMoeError } from '../errors.js';

/** Rotary positions: the base, and how the context was stretched. YaRN: Peng et al., arXiv:2309.00071. */
export const ropeSchema = z.strictObject({
  theta: z.number().positive(),
  yarn: z
    .strictObject({
      factor: z.number().positive(),
      original: z.int().positive().describe('context length before stretching'),
      betaFast: z.number().positive(),
      betaSlow: z.number().positive(),
      mscale: z.number(),
      mscaleAllDim: z.number(),
    })
    .nullable(),
});

export type RopeConfig = z.infer<typeof ropeSchema>;

type Json = Readonly<Record<string, unknown>>;

/** Reads `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (released files). */
export function ropeFromHub(config: Json): RopeConfig {
  const parameters = (config.rope_parameters ?? config.rope_scaling ?? {}) as Json;
  const theta = Number(parameters.rope_theta ?? config.rope_theta ?? 10000);
  const type = parameters.rope_type ?? parameters.type ?? 'default';
  if (type === 'default') return { theta, yarn: null };
  if (type !== 'yarn')
    throw new TrainMoeError(
      'bad-config',
      `config.json asks for rotary scaling of type "${type}"; "default" and "yarn" are supported.`,
    );
  return {
    theta,
    yarn: {
      factor: Number(parameters.factor),
      original: Number(parameters.original_max_position_embeddings),
      betaFast: Number(parameters.beta_fast ?? 32),
      betaSlow: Number(parameters.beta_slow ?? 1),
      mscale: Number(parameters.mscale ?? 1),
      mscaleAllDim: Number(parameters.mscale_all_dim ?? 0),
    },
  };
}

/** The released spelling: `rope_theta`, and `rope_scaling` where the context is stretched. */
export function ropeToHub(rope: RopeConfig): Record<string, unknown> {
  const { yarn } = rope;
  return {
    rope_theta: rope.theta,
    rope_scaling: yarn && {
      type: 'yarn',
      factor: yarn.factor,
      original_max_position_embeddings: yarn.original,
      beta_fast: yarn.betaFast,
      beta_slow: yarn.betaSlow,
      mscale: yarn.mscale,
      mscale_all_dim: yarn.mscaleAllDim,
    },
  };
}
