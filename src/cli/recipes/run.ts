import { r1 } from '../../recipes/r1.js';
import type { R1End } from '../../recipes/rows.js';
import type { R1Config } from '../../recipes/settings.js';
import { exitCodes } from '../exit_codes.js';
import { r1View } from './view.js';

/** Runs the recipe and shows it. The first Ctrl-C or SIGTERM saves after the step and ends; a second one ends at once. */
export async function runR1(config: R1Config, { json }: { readonly json: boolean }): Promise<R1End> {
  const view = r1View(json ? process.stderr : process.stdout);
  const stop = new AbortController();
  const onSignal = () => {
    if (stop.signal.aborted) process.exit(exitCodes.interrupted);
    view.note('Saving after this step; press Ctrl-C again to end at once without saving.');
    stop.abort();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    const end = await r1(config, { onEvent: view.show, signal: stop.signal });
    view.end(end);
    return end;
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}
