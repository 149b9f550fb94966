import { takeSeat } from '../../parallel/seat.js';
import type { FromRank, RankRuns, RankTask } from './messages.js';

/** Entry of the process that is one rank of a run. */
await takeSeat<RankTask>(async ({ run, config, checkpoint }, { communicator, send, onMessage }) => {
  const tell = (said: FromRank) => send(said);
  let stop = false;
  const onStop = () => {
    stop = true;
  };
  onMessage(onStop);
  process.on('SIGINT', onStop).on('SIGTERM', onStop); // whoever holds the run folder is told to be stopped by a signal
  const hooks = {
    onEvent: (event: RankRuns[typeof run]['event']) => tell({ event }),
    shouldStop: () => stop,
  };
  const place = { communicator, checkpoint, prepared: (found: typeof checkpoint) => tell({ prepared: found }) };
  // Loaded when signals are heeded already.
  if (run === 'sft') {
    const { sftAsRank } = await import('../sft/run.js');
    await sftAsRank(config as RankRuns['sft']['config'], hooks, place);
  } else {
    const { pretrainAsRank } = await import('../pretrain.js');
    await pretrainAsRank(config as RankRuns['pretrain']['config'], hooks, place);
  }
});
