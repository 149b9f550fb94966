/**
 * Data from models: a model is asked, its completions are judged and filtered, and the good ones become conversations.
 *
 *     await reject(resolveReject({ model: 'runs/grpo', task: 'arith', samples: 16 }));
 */
export {
  type RejectConfig,
  type RejectInput,
  resolveReject,
  resolveSynthesize,
  type SynthesizeConfig,
  type SynthesizeInput,
} from './config.js';
export type { CurateEnd, CurateEvent, CurateFacts, CurateHooks, CuratePlace } from './curate.js';
export type { Reason as DropReason } from './filters.js';
export { reject } from './reject.js';
export type { Counts as CurateCounts } from './store.js';
export { synthesize } from './synthesize.js';
