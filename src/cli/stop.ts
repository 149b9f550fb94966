import { exitCodes } from './exit_codes.js';

/** What is told of a run that a signal can end. */
interface View {
  show(event: { readonly kind: 'note'; readonly sentence: string }): void;
  done(): void;
}

/**
 * Runs something that saves and ends when it is asked to stop: by the first Ctrl-C or SIGTERM, which aborts the signal and is
 * answered with `sentence`. A second one ends the process at once.
 */
export async function stoppable<T>(
  view: View,
  body: (signal: AbortSignal) => Promise<T>,
  sentence = 'Saving after this step; press Ctrl-C again to end at once without saving.',
): Promise<T> {
  const stop = new AbortController();
  const onSignal = () => {
    if (stop.signal.aborted) process.exit(exitCodes.interrupted);
    view.show({ kind: 'note', sentence });
    stop.abort();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    return await body(stop.signal);
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    view.done();
  }
}
