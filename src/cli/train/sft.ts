import type { SftConfig } from '../../train/sft/config.js';
import type { SftEnd } from '../../train/sft/events.js';
import { sft } from '../../train/sft/run.js';
import { exitCodes } from '../exit_codes.js';
import { sftView } from './sft_view.js';

/** Runs SFT and shows it. The first Ctrl-C or SIGTERM saves after the step and ends; a second one ends at once. */
export async function runSft(config: SftConfig, { json }: { readonly json: boolean }): Promise<SftEnd> {
  const view = sftView(json ? process.stderr : process.stdout);
  let stop = false;
  const onSignal = () => {
    if (stop) process.exit(exitCodes.interrupted);
    stop = true;
    view.show({ kind: 'note', sentence: 'Saving after this step; press Ctrl-C again to end at once without saving.' });
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    return await sft(config, { onEvent: view.show, shouldStop: () => stop });
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    view.done();
  }
}
