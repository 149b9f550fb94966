import { exitCodes } from '../exit_codes.js';

/**
 * Runs `body` with a question for it: has the first Ctrl-C or SIGTERM come? It is answered by `note` at once; a second signal
 * ends the process.
 */
export async function withStop<T>(note: () => void, body: (shouldStop: () => boolean) => Promise<T>): Promise<T> {
  let stop = false;
  const onSignal = () => {
    if (stop) process.exit(exitCodes.interrupted);
    stop = true;
    note();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    return await body(() => stop);
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}
