import type { CommandModule } from 'yargs';
import { lazy } from '../command.js';

/**
 * The commands, in the order of `train-moe --help`. A new one is a file beside this one, which says what it takes and
 * does, and a line here. What runs when none is named ("$0") is the whole recipe once, at a size that takes minutes.
 */
export const commands: readonly CommandModule[] = [
  lazy(
    '$0',
    'the same as r1: from text to a small model that reasons, and a report; a few minutes',
    async () => (await import('./r1.js')).r1,
  ),
  lazy(
    'collect [sources..]',
    'read text from files, folders and globs; report on it; write it as JSON Lines or token shards',
    async () => (await import('./collect.js')).collect,
  ),
  lazy(
    'data <action>',
    'look into files of conversations before training on them',
    async () => (await import('./data.js')).data,
  ),
  lazy(
    'tokenizer <action>',
    'learn a vocabulary, or turn text into ids and back',
    async () => (await import('./tokenizer.js')).tokenizer,
  ),
  lazy(
    'pretrain',
    'train a model from text, or a given one further; run again on the same --out, it goes on',
    async () => (await import('./pretrain.js')).pretrain,
  ),
  lazy(
    'sft',
    'fine-tune a model on conversations; run again on the same --out, it goes on',
    async () => (await import('./sft.js')).sft,
  ),
  lazy(
    'reward-model',
    'train a reward model on preferences; run again on the same --out, it goes on',
    async () => (await import('./reward_model.js')).rewardModel,
  ),
  lazy(
    'dpo',
    'train a model on preferences directly; run again on the same --out, it goes on',
    async () => (await import('./dpo.js')).dpo,
  ),
  lazy(
    'grpo',
    'train a model by reinforcement learning on a task; run again on the same --out, it goes on',
    async () => (await import('./grpo.js')).grpo,
  ),
  lazy(
    'reject',
    'sample answers to a task and keep the right, well-formed ones as conversations; run again, it goes on',
    async () => (await import('./reject.js')).reject,
  ),
  lazy(
    'synthesize',
    'write questions, answers or texts with a model from templates, filtered; run again, it goes on',
    async () => (await import('./synthesize.js')).synthesize,
  ),
  lazy(
    'r1',
    'the whole path from a base model to a reasoning model, with a report; run again, it goes on',
    async () => (await import('./r1.js')).r1,
  ),
  lazy(
    'generate [prompt]',
    'continue a text with a trained model',
    async () => (await import('./generate.js')).generate,
  ),
  lazy(
    'fill <text>',
    'say what an encoder such as BERT finds behind the masks of a text',
    async () => (await import('./fill.js')).fill,
  ),
  lazy(
    'chat',
    'talk to a model in the terminal; a base model just continues the conversation',
    async () => (await import('./chat.js')).chat,
  ),
  lazy(
    'serve',
    "answer requests over OpenAI's API with a trained model, many at once",
    async () => (await import('./serve.js')).serve,
  ),
  lazy(
    'eval',
    'loss of a model on text, in bits per byte where it writes',
    async () => (await import('./eval.js')).evaluate,
  ),
  lazy(
    'import',
    'check a downloaded Hugging Face folder and write it as a plain f32 or bf16 one (FP8 weights are dequantised)',
    async () => (await import('./import.js')).importModel,
  ),
  lazy('export', 'write a model as a Hugging Face folder', async () => (await import('./export.js')).exportModel),
  lazy(
    'forward',
    'run a model on given tensors and write what it computes, to compare with other frameworks',
    async () => (await import('./forward.js')).forward,
  ),
  lazy(
    'info <name>',
    'tell about a model folder or a preset: family, parameters, memory',
    async () => (await import('./info.js')).info,
  ),
  lazy(
    'config',
    'print the merged configuration of a run and where each value came from',
    async () => (await import('./config.js')).config,
  ),
  lazy(
    'doctor',
    'look at this machine and the installation, and say what works and why the rest does not',
    async () => (await import('./doctor.js')).doctor,
  ),
  lazy(
    'bench',
    'measure ops, training steps, generation and tokenizers; one JSON line a measurement',
    async () => (await import('./bench.js')).bench,
  ),
];
