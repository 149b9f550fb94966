import type { Argv } from 'yargs';

/** Options of every command that loads a model. */
export const modelOptions = <T>(parser: Argv<T>) =>
  parser
    .option('model', {
      type: 'string',
      demandOption: true,
      requiresArg: true,
      describe: 'a Hugging Face folder, a checkpoint or a run folder',
    })
    .option('device', { type: 'string', default: 'auto', requiresArg: true, describe: 'auto, cpu, cuda or emulator' })
    .option('dtype', { type: 'string', default: 'f32', requiresArg: true, describe: 'f32 or bf16' })
    .option('threads', { type: 'number', requiresArg: true, describe: 'threads of the CPU backend' });

/** Options of every command that samples. */
export const sampleOptions = <T>(parser: Argv<T>) =>
  parser
    .option('tokenizer', { type: 'string', requiresArg: true, describe: "a tokenizer; by default the model's own" })
    .option('max-tokens', { type: 'number', default: 256, requiresArg: true, describe: 'longest completion' })
    .option('temperature', { type: 'number', default: 0.8, requiresArg: true, describe: '0 is greedy' })
    .option('top-k', { type: 'number', default: 0, requiresArg: true, describe: 'keep the k likeliest tokens; 0: all' })
    .option('top-p', {
      type: 'number',
      default: 1,
      requiresArg: true,
      describe: 'keep tokens of this much probability',
    })
    .option('min-p', {
      type: 'number',
      default: 0,
      requiresArg: true,
      describe: 'keep tokens of this share of the likeliest',
    })
    .option('repetition-penalty', { type: 'number', default: 1, requiresArg: true, describe: '1 is off' })
    .option('seed', { type: 'number', default: 0, requiresArg: true, describe: 'the same seed gives the same text' })
    .option('stop', { type: 'string', array: true, default: [] as string[], describe: 'texts that end a completion' });

export interface SampleFlags {
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly seed: number;
  readonly stop: string[];
}

/** The sampling flags of a parsed command line. */
export const sampleFlags = (a: SampleFlags): SampleFlags => ({
  maxTokens: a.maxTokens,
  temperature: a.temperature,
  topK: a.topK,
  topP: a.topP,
  minP: a.minP,
  repetitionPenalty: a.repetitionPenalty,
  seed: a.seed,
  stop: a.stop,
});
