/**
 * train-moe: train DeepSeek-style language models from Node. Everything public is re-exported here; importing it loads the
 * native addon.
 */
export { defineConfig, type RunConfig, type RunConfigInput, resolveConfig } from './config/index.js';
export * from './data/index.js';
export { type ErrorCode, TrainMoeError } from './errors.js';
export * from './generate/index.js';
export { openSafetensors, type SafetensorsFile, writeSafetensors } from './hub/safetensors.js';
export { createModel, disposeModel, loadWeights, parametersOf } from './models/codec.js';
export { type LoadedModel, type LoadOptions, loadModel, modelContent } from './models/folder.js';
export { type ForwardInputs, type ForwardResult, forward } from './models/forward.js';
export { type Family, families, familyOfHub, type Model, presetNamed } from './models/index.js';
export { mergeAdapter, writeAdapter } from './models/peft.js';
export { loadScoring, type ScoreKind, type ScoringModel, scoring } from './models/scoring.js';
export * as native from './native.gen.js';
export * as nn from './nn/index.js';
export { addLora, type Lora, type LoraConfig, mergedValues } from './nn/lora.js';
export * as ops from './ops/index.js';
export { AdamW, type AdamWConfig, type Trained } from './optim/adamw.js';
export { Ema } from './optim/ema.js';
export { rampedRows, type Schedule, scheduleFactor } from './optim/schedule.js';
export { r1 } from './recipes/r1.js';
export type { R1End, R1Row } from './recipes/rows.js';
export type { R1Event, R1Hooks } from './recipes/session.js';
export { type R1Config, type R1Settings, r1Presets, resolveR1 } from './recipes/settings.js';
export { type Finished, runStage, type Stage } from './recipes/stages.js';
export type { Algorithm, GrpoInput } from './rl/config.js';
export * from './rl/curate/index.js';
export type { TaskScore } from './rl/evaluate.js';
export type { GrpoEnd, GrpoEvent, GrpoFacts, GrpoRecord, ShownSample } from './rl/events.js';
export type { RewardFunction } from './rl/own.js';
export * from './rl/preference/index.js';
export * as rewards from './rl/rewards/index.js';
export * as tasks from './rl/tasks/index.js';
export { type TrainGrpoHooks, trainGrpo } from './rl/train.js';
export * from './tensor/index.js';
export * from './tokenizer/index.js';
export { type Evaluation, evaluate } from './train/evaluate.js';
export type { RunEnd, RunFacts, StepRecord, TrainEvent } from './train/events.js';
export { pretrainInWorker } from './train/in_worker.js';
export type { StepOptions } from './train/passes.js';
export { type PretrainHooks, pretrain } from './train/pretrain.js';
export { resolveSft, type SftConfig, type SftInput } from './train/sft/config.js';
export type { SftEnd, SftEvent, SftFacts, SftRecord, SftScore } from './train/sft/events.js';
export { type SftHooks, sft } from './train/sft/run.js';
export { type StepResult, trainStep } from './train/step.js';
