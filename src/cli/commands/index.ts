import type { CommandModule } from 'yargs';
import { bench } from './bench.js';
import { chat } from './chat.js';
import { collect } from './collect.js';
import { config } from './config.js';
import { data } from './data.js';
import { doctor } from './doctor.js';
import { dpo } from './dpo.js';
import { evaluate } from './eval.js';
import { exportModel } from './export.js';
import { forward } from './forward.js';
import { generate } from './generate.js';
import { grpo } from './grpo.js';
import { importModel } from './import.js';
import { info } from './info.js';
import { pretrain } from './pretrain.js';
import { quickstart } from './quickstart.js';
import { r1 } from './r1.js';
import { reject } from './reject.js';
import { rewardModel } from './reward_model.js';
import { sft } from './sft.js';
import { synthesize } from './synthesize.js';
import { tokenizer } from './tokenizer.js';

/** The commands, in the order of `train-moe --help`. A new one is a file beside this one and a line here. */
export const commands: readonly CommandModule[] = [
  quickstart,
  collect,
  data,
  tokenizer,
  pretrain,
  sft,
  rewardModel,
  dpo,
  grpo,
  reject,
  synthesize,
  r1,
  generate,
  chat,
  evaluate,
  importModel,
  exportModel,
  forward,
  info,
  config,
  doctor,
  bench,
];
