import type { Tokenizer } from '../../tokenizer/index.js';
import { openTask } from '../open.js';
import type { openGraders } from '../rewards/index.js';
import type { RejectConfig } from './config.js';
import { type CurateEnd, type CurateHooks, type Curation, curate } from './curate.js';
import { openPanel } from './panel.js';

/**
 * Rejection sampling: `samples` completions of each question of a task, of which the right and well-formed ones become
 * conversations to fine-tune on. DeepSeek-R1, arXiv:2501.12948, section 2.3.3.
 * @throws TrainMoeError `busy`, or what reading the model, the task and the rewards may bring
 */
export const reject = (
  config: RejectConfig,
  hooks: CurateHooks & { readonly open?: typeof openGraders } = {},
): Promise<CurateEnd> => curate(config, (c, tokenizer) => openRejection(c, tokenizer, hooks.open), hooks);

async function openRejection(config: RejectConfig, tokenizer: Tokenizer, open?: typeof openGraders): Promise<Curation> {
  const { source, specs } = await openTask(config, tokenizer);
  return {
    kind: 'reject',
    name: source.name,
    content: {},
    total: config.questions,
    question: (index) => source.train(index),
    stop: [],
    panel: await openPanel(config, specs, true, open),
    conversation: ({ prompt, meta }, text) => ({
      messages: [
        { role: 'user', content: typeof meta?.asked === 'string' ? meta.asked : prompt },
        { role: 'assistant', content: text },
      ],
      about: {},
    }),
    known: () => [],
  };
}
