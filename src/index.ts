/**
 * train-moe: train DeepSeek-style language models from Node. Everything public is re-exported here; importing it loads the
 * native addon.
 *
 * - runs, each a folder that goes on where it stopped: pretrain(), sft(), trainRewardModel(), trainDpo(), trainGrpo(), reject(),
 *   synthesize(), r1(); their settings are plain objects (defineConfig(), resolveSft(), ..), their events arrive in `onEvent`
 * - text: collect(), trainBpe(), openTokenizer(), loadTokenizer(), tokenize(), batches()
 * - models: loadModel(), saveModel(), createModel(), forward(), evaluate(), trainStep()
 * - several processes as one: openCrew() starts ranks, takeSeat() is one, whose Communicator trainStep() and AdamW take
 * - beneath: tensors and their tape (differentiate(), scope()), `ops`, `nn`, AdamW, `native`
 * - inference: Engine and streamText(), serve(); resolveServe() makes its settings
 * - reasoning: `tasks`, `rewards`
 *
 * What goes wrong is a TrainMoeError with a `code`.
 */
export {
  type ConfigParts,
  defineConfig,
  type Layer as ConfigLayer,
  type ResolvedConfig,
  type RunConfig,
  type RunConfigInput,
  resolveConfig,
  type Settings,
} from './config/index.js';
export * from './data/index.js';
export { type ErrorCode, TrainMoeError } from './errors.js';
export * from './generate/index.js';
export type { ByteSink, FolderSink } from './hub/byte_sink.js';
export type { ByteSource } from './hub/byte_source.js';
export type { Config as HubConfig } from './hub/config_json.js';
export type { FileDType, TensorSpec } from './hub/dtype.js';
export type { ModelContent } from './hub/folder.js';
export {
  openSafetensors,
  type SafetensorsFile,
  type StoredTensor,
  type TensorBytes,
  writeSafetensors,
} from './hub/safetensors.js';
export {
  createModel,
  disposeModel,
  type GiveWeight,
  loadWeights,
  parametersOf,
  type ReadTensor,
} from './models/codec.js';
export type { EncoderWeights } from './models/encoder.js';
export type { CacheForm, CacheShape, Encoder, Head, HubPiece, RelationNames } from './models/family.js';
export { type LoadedModel, type LoadOptions, loadModel, modelContent } from './models/folder.js';
export { type ForwardInputs, type ForwardResult, forward } from './models/forward.js';
export {
  type AlbertConfig,
  albert,
  type BertConfig,
  bert,
  type CtrlConfig,
  ctrl,
  type DeepseekBlock,
  type DeepseekMoeConfig,
  type DeepseekV2Config,
  type DeepseekV3Config,
  type DistilbertConfig,
  deepseekMoe,
  deepseekV2,
  deepseekV3,
  distilbert,
  type Family,
  families,
  familyOfHub,
  type Gpt2Config,
  gpt2,
  type LlamaConfig,
  llama,
  type Model,
  megatronBert,
  type NextWeights,
  presetNamed,
  type Recurrence,
  type RobertaConfig,
  roberta,
  type XlnetBlock,
  type XlnetConfig,
  xlnet,
} from './models/index.js';
export { mergeAdapter, writeAdapter } from './models/peft.js';
export type { RecurrentInputs } from './models/recurrence.js';
export { saveModel } from './models/save.js';
export { loadScoring, type ScoreKind, type ScoringModel, scoring } from './models/scoring.js';
export type { TransformerBlock } from './models/transformer.js';
export * as native from './native.gen.js';
export type { GraphFacts, MemoryUse, TagUse } from './native.js';
export * as nn from './nn/index.js';
export { addLora, type Lora, type LoraConfig, type LoraEntry, mergedValues } from './nn/lora.js';
export * as ops from './ops/index.js';
export { AdamW, type AdamWConfig, type Trained } from './optim/adamw.js';
export { type Averaged, Ema } from './optim/ema.js';
export { rampedRows, type Schedule, scheduleFactor } from './optim/schedule.js';
export {
  Communicator,
  type Crew,
  type CrewOptions,
  type Held,
  openCrew,
  type Piece,
  type Reduction,
  type Seat,
  type Shard,
  Sharded,
  takeSeat,
} from './parallel/index.js';
export type { Mixture } from './recipes/corpus.js';
export type { Figures, Measured, MeasureOptions } from './recipes/measure.js';
export { r1 } from './recipes/r1.js';
export type { R1End, R1Row } from './recipes/rows.js';
export type { ModelStage, R1Event, R1Hooks } from './recipes/session.js';
export {
  type R1Config,
  type R1Input,
  type R1Options,
  type R1Settings,
  r1Presets,
  resolveR1,
} from './recipes/settings.js';
export {
  type Finished,
  type Input as StageInput,
  type Json,
  runStage,
  type Stage,
  type StageEvent,
} from './recipes/stages.js';
export type { Habits } from './recipes/transcripts.js';
export type { Algorithm, GrpoInput } from './rl/config.js';
export * from './rl/curate/index.js';
export type { TaskScore } from './rl/evaluate.js';
export type { GrpoEnd, GrpoEvent, GrpoFacts, GrpoRecord, ShownSample } from './rl/events.js';
export type { Phase as GrpoPhase } from './rl/grpo.js';
export type { Own } from './rl/open.js';
export type { RewardFunction } from './rl/own.js';
export * from './rl/preference/index.js';
export * as rewards from './rl/rewards/index.js';
export * as tasks from './rl/tasks/index.js';
export { type TrainGrpoHooks, trainGrpo } from './rl/train.js';
export {
  resolveServe,
  type ServeConfig,
  type ServedModel,
  type ServedRequest,
  type ServeEvent,
  type ServeFacts,
  type ServeInput,
  serve,
} from './serve/index.js';
export * from './tensor/index.js';
export * from './tokenizer/index.js';
export type { Distilled, DistillWeights, Teacher } from './train/distill.js';
export type { MemoryEstimate } from './train/estimate.js';
export { type EvaluateOptions, type Evaluation, evaluate, type RelationScore } from './train/evaluate.js';
export type { CommonEnd, CommonFacts, RunEnd, RunEvent, RunFacts, StepRecord, TrainEvent } from './train/events.js';
export { pretrainInWorker } from './train/in_worker.js';
export { type MaskTokenizer, maskIdOf } from './train/masking.js';
export type { SegmentMemory } from './train/memory.js';
export { type Objective, type ObjectiveSettings, objectiveOf } from './train/objective.js';
export type { StepOptions } from './train/passes.js';
export { type PretrainHooks, pretrain } from './train/pretrain.js';
export { modelFolder } from './train/run/model_folder.js';
export { resolveSft, type SftConfig, type SftInput } from './train/sft/config.js';
export type { SftCounts } from './train/sft/data.js';
export type { SftEnd, SftEvent, SftFacts, SftRecord, SftScore } from './train/sft/events.js';
export { type SftHooks, sft } from './train/sft/run.js';
export { StepGraphs, type StepResult, trainStep } from './train/step.js';
