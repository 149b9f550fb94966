import { takeSeat } from '../../parallel/seat.js';
import type { FromRank, RankTask } from './messages.js';

/** Entry of the process that is one rank of a pre-training run. */
await takeSeat<RankTask>(async ({ config, checkpoint }, { communicator, send, onMessage }) => {
  const { pretrainAsRank } = await import('../pretrain.js'); // when signals are heeded already
  const tell = (said: FromRank) => send(said);
  let stop = false;
  onMessage(() => {
    stop = true;
  });
  await pretrainAsRank(
    config,
    { onEvent: (event) => tell({ event }), shouldStop: () => stop },
    { communicator, checkpoint, prepared: (found) => tell({ prepared: found }) },
  );
});
