import type { GrpoConfig } from '../../rl/config.js';
import type { GrpoEnd } from '../../rl/events.js';
import { openJudged } from '../../rl/open.js';
import { grpo } from '../../rl/run.js';
import { stoppable } from '../stop.js';
import { grpoView } from './view.js';

/** Runs GRPO and shows it. */
export function runGrpo(config: GrpoConfig, { json }: { readonly json: boolean }): Promise<GrpoEnd> {
  const view = grpoView(json ? process.stderr : process.stdout);
  return stoppable(view, (signal) =>
    grpo(config, (c, tokenizer) => openJudged(c, tokenizer), { onEvent: view.show, shouldStop: () => signal.aborted }),
  );
}
