import { takeSeat } from '../../parallel/seat.js';
import type { FromRank, RankTask } from './messages.js';

/** Entry of the process that is one rank of a pre-training run. */
await takeSeat<RankTask>(async ({ config, checkpoint }, { communicator, send, onMessage }) => {
  const tell = (said: FromRank) => send(said);
  let stop = false;
  const onStop = () => {
    stop = true;
  };
  onMessage(onStop);
  process.on('SIGINT', onStop).on('SIGTERM', onStop); // whoever holds the run folder is told to be stopped by a signal
  const { pretrainAsRank } = await import('../pretrain.js'); // when signals are heeded already
  await pretrainAsRank(
    config,
    { onEvent: (event) => tell({ event }), shouldStop: () => stop },
    { communicator, checkpoint, prepared: (found) => tell({ prepared: found }) },
  );
});
