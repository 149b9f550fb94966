import { TrainMoeError } from '../errors.js';
import { albert } from './albert.js';
import { bert } from './bert.js';
import { ctrl } from './ctrl.js';
import { deepseekMoe } from './deepseek_moe.js';
import { deepseekV2 } from './deepseek_v2.js';
import { deepseekV3 } from './deepseek_v3.js';
import { distilbert } from './distilbert.js';
import type { Family } from './family.js';
import { gpt2 } from './gpt2.js';
import { llama } from './llama.js';
import { megatronBert } from './megatron_bert.js';
import { roberta } from './roberta.js';
import { xlnet } from './xlnet.js';

/** The table of models. A new family is a file and a line. */
export const families: readonly Family[] = [
  llama,
  deepseekMoe,
  deepseekV2,
  deepseekV3,
  gpt2,
  ctrl,
  bert,
  roberta,
  distilbert,
  albert,
  megatronBert,
  xlnet,
] as unknown as readonly Family[];

/** The family that a config.json belongs to. @throws TrainMoeError `bad-config` when none does. */
export function familyOfHub(config: Readonly<Record<string, unknown>>): Family {
  const type = String(config.model_type);
  const found = families.find((f) => f.modelTypes.includes(type));
  if (found) return found;
  const known = families.flatMap((f) => f.modelTypes).join(', ');
  throw new TrainMoeError('bad-config', `config.json has model_type "${type}"; known are ${known}.`);
}

/** A published or laptop-sized configuration by name. @throws TrainMoeError `bad-argument` listing the names. */
export function presetNamed(name: string): { family: Family; config: unknown } {
  for (const family of families) {
    const config = family.presets[name];
    if (config !== undefined) return { family, config };
  }
  const known = families.flatMap((f) => Object.keys(f.presets)).join(', ');
  throw new TrainMoeError('bad-argument', `There is no preset "${name}"; known are ${known}.`);
}

export { type AlbertConfig, albert } from './albert.js';
export { type BertConfig, bert } from './bert.js';
export { type CtrlConfig, ctrl } from './ctrl.js';
export type { DeepseekBlock } from './deepseek.js';
export { type DeepseekMoeConfig, deepseekMoe } from './deepseek_moe.js';
export { type DeepseekV2Config, deepseekV2 } from './deepseek_v2.js';
export { type DeepseekV3Config, deepseekV3, type NextWeights } from './deepseek_v3.js';
export { type DistilbertConfig, distilbert } from './distilbert.js';
export type { Family, HubPiece, Model, Recurrence } from './family.js';
export { type Gpt2Config, gpt2 } from './gpt2.js';
export { type LlamaConfig, llama } from './llama.js';
export { megatronBert } from './megatron_bert.js';
export { type RobertaConfig, roberta } from './roberta.js';
export { type XlnetBlock, type XlnetConfig, xlnet } from './xlnet.js';
