/**
 * Rewards for reinforcement learning: rules that judge a completion, run in processes that can be killed.
 *
 *     const pool = await openGraders(['math', 'format', { name: './mine.js' }]);
 *     const results = await pool.grade(samples);      // results[sample][reward]
 */

export { math, number } from './builtin/answers.js';
export { type CodeMeta, type CodeOptions, code } from './builtin/code.js';
export { countdown } from './builtin/countdown.js';
export { language } from './builtin/language.js';
export { exact, format, formatFault, type LengthOptions, length, regex } from './builtin/text.js';
export { combine } from './combine.js';
export { type GradeOptions, type GraderPool, grade, openGraders } from './graders/pool.js';
export { type AnswerPlace, finalAnswer, sameAnswer } from './math/index.js';
export { createReward, rewardNames } from './registry.js';
export { probeSandbox, runInSandbox, type SandboxLimits, type SandboxResult } from './sandbox/run.js';
export type { Language } from './sandbox/tools.js';
export {
  type BatchOptions,
  type BatchReward,
  isSkipped,
  type Reward,
  type RewardResult,
  type RewardSpec,
  type Sample,
} from './types.js';
