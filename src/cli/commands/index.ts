import type { CommandModule } from 'yargs';
import { collect } from './collect.js';
import { config } from './config.js';
import { doctor } from './doctor.js';
import { forward } from './forward.js';
import { generate } from './generate.js';
import { info } from './info.js';
import { pretrain } from './pretrain.js';
import { tokenizer } from './tokenizer.js';

/** The commands, in the order of `train-moe --help`. A new one is a file beside this one and a line here. */
export const commands: readonly CommandModule[] = [
  collect,
  tokenizer,
  pretrain,
  generate,
  forward,
  info,
  config,
  doctor,
];
