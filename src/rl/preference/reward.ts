import { disposeModel } from '../../models/codec.js';
import { contextOf } from '../../models/family.js';
import { modelFingerprint } from '../../models/fingerprint.js';
import { loadScoring } from '../../models/scoring.js';
import { sigmoid } from '../../ops/sigmoid.js';
import type { Device } from '../../tensor/index.js';
import { type Conversation, loadTokenizer, openChatTemplate } from '../../tokenizer/index.js';
import { modelFolder } from '../../train/run/model_folder.js';
import { type BatchReward, type RewardResult, type Sample, skip, value } from '../rewards/types.js';
import { encodeConversation } from './encode.js';
import type { Text } from './pack.js';
import { answerPart, type ModelRewardSpec, modelRewardOf } from './reward_spec.js';
import { NOTHING_SEEN, type Running, seen, standardized } from './running.js';
import { scoreTexts } from './score.js';

/** A reward model that judges completions in the trainer's own process. */
export interface ModelReward extends BatchReward {
  /** The scores seen so far, which the running scale depends on. */
  running: Running;
  dispose(): void;
}

export interface ModelRewardOptions {
  readonly device: Device;
  readonly dtype: 'f32' | 'bf16';
  readonly rowsAtOnce: number;
}

/**
 * Loads a reward model as a reward. It reads the question as a turn of the user and the completion as the assistant's, in
 * the chat template it was trained with, or the one as the continuation of the other.
 * @throws TrainMoeError for a folder that is missing or holds no model
 */
export async function openModelReward(spec: ModelRewardSpec, o: ModelRewardOptions): Promise<ModelReward> {
  const folder = modelFolder(spec.path);
  const template = await openChatTemplate(loadTokenizer(folder));
  const model = loadScoring(folder, { device: o.device, dtype: o.dtype });
  const pairwise = model.kind === 'pairwise';
  const { part = pairwise ? 'answer' : 'all', scale = pairwise ? 'running' : 'sigmoid' } = spec;
  const context = contextOf(model);
  const read = ({ prompt, completion, meta }: Sample): Text => {
    const plain = spec.as === 'text';
    const question = !plain && typeof meta?.asked === 'string' ? meta.asked : prompt;
    const answer = part === 'answer' ? answerPart(prompt, completion) : completion;
    const messages: Conversation['messages'] = [
      { role: 'user', content: question },
      { role: 'assistant', content: answer },
    ];
    return encodeConversation(template, { messages, plain });
  };
  const reward: ModelReward = {
    name: spec.name,
    running: NOTHING_SEEN,
    async scoreAll(samples, { observe }) {
      const texts = samples.map(read);
      const fitting = texts.filter(({ ids }) => ids.length <= context);
      const scores = [...scoreTexts(model, fitting, o.device, o.rowsAtOnce)];
      if (observe) reward.running = seen(reward.running, scores);
      let at = 0;
      return texts.map(({ ids }): RewardResult => {
        if (ids.length > context)
          return skip(`${ids.length} tokens are more than the ${context} that the reward model reads`);
        const score = scores[at++]!;
        return value(scaled(score), { score });
      });
    },
    dispose() {
      disposeModel(model);
    },
  };
  const scaled = (score: number): number =>
    scale === 'sigmoid' ? sigmoid(score) : scale === 'running' ? standardized(reward.running, score) : score;
  return reward;
}

/**
 * A reward as it is written, a reward model named by its weights instead of its folder: the same wherever it lies.
 * @throws TrainMoeError for a folder that is missing or holds no model
 */
export function namedByContent(name: string): string {
  const spec = modelRewardOf({ name });
  return spec ? name.replace(spec.path, () => modelFingerprint(modelFolder(spec.path))) : name;
}
