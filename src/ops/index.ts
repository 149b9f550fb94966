/**
 * Differentiable ops: each computes at once, and records how to go back where a tape is active (differentiate()). They take
 * and give f32 or bf16 unless they say otherwise, and refuse shapes that do not fit with a sentence.
 */
export { type Activation, activation } from './activation.js';
export { add } from './add.js';
export { type AttentionOptions, attention } from './attention.js';
export { attentionDecode, mlaDecode, type Pages } from './attention_decode.js';
export { type BalanceOptions, balanceLoss } from './balance_loss.js';
export { cast } from './cast.js';
export { concat } from './concat.js';
export { crossEntropy, type LinearCrossEntropyOptions, linearCrossEntropy, linearLogProb } from './cross_entropy.js';
export { dropout } from './dropout.js';
export { embedding } from './embedding.js';
export { gather } from './gather.js';
export { groupedLinear, groupedLinearSwiglu } from './grouped_linear.js';
export { layernorm } from './layernorm.js';
export { headsLinear, linear, linearSwiglu } from './linear.js';
export { type Adapter, setAdapter } from './lora.js';
export { combine, type MoePlan, moePlan } from './moe.js';
export { multiply } from './multiply.js';
export {
  type KlEstimator,
  type PolicyBatch,
  type PolicyObjective,
  type PolicyStats,
  policyLoss,
  policyStats,
} from './policy_loss.js';
export {
  type Answers,
  answerValues,
  logProbsOfAnswers,
  type PreferenceBatch,
  type PreferenceObjective,
  preferenceLoss,
  preferenceOf,
  scoresAt,
} from './preference_loss.js';
export { type RelativeAttentionOptions, relativeAttention, type SegmentScores } from './relative_attention.js';
export { rmsnorm, rmsnormInPlace } from './rmsnorm.js';
export { rope } from './rope.js';
export { type Routed, type RouterOptions, router } from './router.js';
export { type SampleInputs, type SampleSettings, sample, sampleFrom, sampleInputs } from './sample.js';
export { scale } from './scale.js';
export { swiglu } from './swiglu.js';
export { weightedSum } from './weighted_sum.js';
