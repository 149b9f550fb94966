import type { GrpoConfig } from '../../rl/config.js';
import type { GrpoEnd } from '../../rl/events.js';
import { openJudged } from '../../rl/open.js';
import { grpo } from '../../rl/run.js';
import { withStop } from './signals.js';
import { grpoView } from './view.js';

/** Runs GRPO and shows it. The first Ctrl-C or SIGTERM saves after the step and ends; a second one ends at once. */
export async function runGrpo(config: GrpoConfig, { json }: { readonly json: boolean }): Promise<GrpoEnd> {
  const view = grpoView(json ? process.stderr : process.stdout);
  const sentence = 'Saving after this step; press Ctrl-C again to end at once without saving.';
  try {
    return await withStop(
      () => view.show({ kind: 'note', sentence }),
      (shouldStop) => grpo(config, (c, tokenizer) => openJudged(c, tokenizer), { onEvent: view.show, shouldStop }),
    );
  } finally {
    view.done();
  }
}
