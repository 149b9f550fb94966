import type { SftConfig } from '../../train/sft/config.js';
import type { SftEnd } from '../../train/sft/events.js';
import { sft } from '../../train/sft/run.js';
import { stoppable } from '../stop.js';
import { sftView } from './sft_view.js';

/** Runs SFT and shows it. The first Ctrl-C or SIGTERM saves after the step and ends; a second one ends at once. */
export function runSft(config: SftConfig, { json }: { readonly json: boolean }): Promise<SftEnd> {
  const view = sftView(json ? process.stderr : process.stdout);
  return stoppable(view, (signal) => sft(config, { onEvent: view.show, shouldStop: () => signal.aborted }));
}
