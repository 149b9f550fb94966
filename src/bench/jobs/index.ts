import type { Job } from '../case.js';
import { adamw } from './adamw.js';
import { attention, mlaDecode } from './attention.js';
import { bpeEncode, bpeTrain } from './bpe.js';
import { decode } from './decode.js';
import { gemm } from './gemm.js';
import { grpo } from './grpo.js';
import { crossEntropy, linearCrossEntropy } from './losses.js';
import { moe } from './moe.js';
import { peak } from './peak.js';
import { router } from './router.js';
import { copy, rmsnorm, rope } from './streams.js';
import { trainStepJob } from './train_step.js';

/** The jobs, in the order they run: bounds of the machine, single ops, whole models, text. */
export const jobs: readonly Job[] = [
  peak,
  copy,
  gemm,
  attention,
  mlaDecode,
  moe,
  crossEntropy,
  linearCrossEntropy,
  adamw,
  rmsnorm,
  rope,
  router,
  trainStepJob,
  decode,
  grpo,
  bpeTrain,
  bpeEncode,
] as readonly unknown[] as readonly Job[];
