import { r1 } from '../../recipes/r1.js';
import type { R1End } from '../../recipes/rows.js';
import type { R1Config } from '../../recipes/settings.js';
import { stoppable } from '../stop.js';
import { r1View } from './view.js';

/** Runs the recipe and shows it. */
export function runR1(config: R1Config, { json }: { readonly json: boolean }): Promise<R1End> {
  const view = r1View(json ? process.stderr : process.stdout);
  return stoppable(view, async (signal) => {
    const end = await r1(config, { onEvent: view.show, signal });
    view.end(end);
    return end;
  });
}
