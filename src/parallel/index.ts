export { Communicator, closeRendezvous, openRendezvous, type Piece, type Reduction } from './communicator.js';
export { type Crew, type CrewOptions, openCrew } from './crew.js';
export { type Seat, takeSeat } from './seat.js';
export { type Held, ownPart, Sharded } from './sharded.js';
export { cutShards, SHARD_BLOCK, type Shard, shareOf } from './shards.js';
