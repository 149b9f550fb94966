import { exitCodes } from '../exit_codes.js';

/** What is told of a run that a signal can end. */
interface View {
  show(event: { readonly kind: 'note'; readonly sentence: string }): void;
  done(): void;
}

/**
 * Runs something that saves and ends when it is asked to stop: by the first Ctrl-C or SIGTERM, which is answered with
 * `sentence`. A second one ends the process at once.
 */
export async function stoppable<T>(
  view: View,
  body: (shouldStop: () => boolean) => Promise<T>,
  sentence = 'Saving after this step; press Ctrl-C again to end at once without saving.',
): Promise<T> {
  let stop = false;
  const onSignal = () => {
    if (stop) process.exit(exitCodes.interrupted);
    stop = true;
    view.show({ kind: 'note', sentence });
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    return await body(() => stop);
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    view.done();
  }
}
