import { basename } from 'node:path';
import { TrainMoeError } from '../../errors.js';
import type { RewardSpec } from '../rewards/types.js';

/** A reward model as a reward. */
export interface ModelRewardSpec {
  /** In metrics. */
  readonly name: string;
  readonly path: string;
  /**
   * answer: what comes after the thinking; R1's helpfulness (arXiv:2501.12948, section 3.1). all: the whole completion; its
   * harmlessness. By default as the model's kind asks: pairwise answers, pointwise all.
   */
  readonly part?: RewardPart | undefined;
  /**
   * running: minus the mean, divided by the deviation of all scores so far. sigmoid: between 0 and 1. none: as it is. By
   * default running for pairwise, whose scores have no zero and no unit, and sigmoid for pointwise models.
   */
  readonly scale?: RewardScale | undefined;
  /** turns (default): question and answer through the chat template. text: the one continues the other, as in a base model. */
  readonly as?: RewardForm | undefined;
}

export type RewardPart = 'answer' | 'all';
export type RewardScale = 'running' | 'sigmoid' | 'none';
export type RewardForm = 'turns' | 'text';

const PREFIX = 'model:';
const OPTIONS = { part: ['answer', 'all'], scale: ['running', 'sigmoid', 'none'], as: ['turns', 'text'] } as const;

/**
 * Reads `model:DIR`, perhaps with `,part=..`, `,scale=..` and `,as=..` behind it; undefined for the name of another reward.
 * @throws TrainMoeError `bad-config` for a setting or value that does not exist
 */
export function modelRewardOf(spec: RewardSpec): ModelRewardSpec | undefined {
  if (!spec.name.startsWith(PREFIX)) return undefined;
  const [path = '', ...behind] = spec.name.slice(PREFIX.length).split(/,(?=\w+=)/);
  const given = { ...spec.options, ...Object.fromEntries(behind.map((setting) => setting.split('=', 2))) };
  if (path === '') throw new TrainMoeError('bad-config', 'The reward "model:" names no folder; write model:DIR.');
  for (const [key, value] of Object.entries(given)) {
    const known: readonly unknown[] | undefined = OPTIONS[key as keyof typeof OPTIONS];
    if (!known?.includes(value))
      throw new TrainMoeError(
        'bad-config',
        `The reward ${spec.name} has ${key}=${String(value)}; ${known ? `${key} is ${known.join(', ')}` : 'known are part, scale and as'}.`,
      );
  }
  return { name: `${PREFIX}${basename(path)}`, path, ...given };
}

/** What a reader gets to see of a completion: the text after the thinking, without the tags of the answer. */
export function answerPart(prompt: string, completion: string): string {
  const end = completion.lastIndexOf('</think>');
  if (end >= 0) return withoutTags(completion.slice(end + '</think>'.length));
  const unfinished = completion.includes('<think>') || prompt.trimEnd().endsWith('<think>');
  return unfinished ? '' : withoutTags(completion);
}

const withoutTags = (text: string): string => text.replace(/<\/?answer>/g, '').trim();
