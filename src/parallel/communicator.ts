import { addon } from '../native.js';
import type { Tensor } from '../tensor/index.js';

/** How values of several ranks become one. */
export type Reduction = 'sum' | 'max';

/** A tensor of which one rank gets the sum over all, or gives its values to all. */
export interface Piece {
  readonly tensor: Tensor;
  /** That rank. */
  readonly owner: number;
}

/** Bytes that a rank lays into shared memory at a time. */
const SLOT_BYTES = 1 << 20;

/**
 * Memory that so many processes share, as a file descriptor for them to inherit: the n-th entry of a child's `stdio` is its
 * descriptor n. It has no name, so nothing of it outlives them. Close it with closeRendezvous() once they have it.
 * @throws TrainMoeError `bad-argument` for fewer than 2 or more than 64 ranks, `io` when there is no memory
 */
export const openRendezvous = (ranks: number, slotBytes = SLOT_BYTES): number => addon.createSegment(ranks, slotBytes);

export const closeRendezvous = (descriptor: number): void => addon.closeSegment(descriptor);

/**
 * One of several processes (ranks) on this machine that compute together: its collectives, through shared memory. Every rank
 * makes the same calls in the same order, with tensors of the same sizes; they may lie on any device. `what` is what a call is
 * for, in the sentences of those that wait.
 *
 * Sums are taken in the order of the ranks, so they have the same bits on all ranks and every time.
 *
 * Every wait ends: when a rank is not there within `seconds`, or its process has ended, or it has told that it failed, the call
 * throws TrainMoeError `lost-rank` with its number and what it was last doing. Nothing can be done with the others after that.
 */
export class Communicator {
  /** How many there are. */
  readonly size: number;
  private readonly number: number;

  /** @param descriptor of openRendezvous(), as this process has it */
  constructor(
    descriptor: number,
    /** Which this one is, from 0. */
    readonly rank: number,
    private readonly seconds: number,
  ) {
    ({ number: this.number, size: this.size } = addon.openRank(descriptor, rank, seconds));
  }

  /** Each tensor becomes its sum, or its largest values, over all ranks. For small ones: each rank reads those of all. */
  allReduce(tensors: readonly Tensor[], reduction: Reduction, what: string): void {
    addon.allReduce(this.number, idsOf(tensors), reduction, what);
  }

  /** Each piece becomes its sum over the ranks where its owner is; elsewhere it stays as it was. */
  reduceScatter(pieces: readonly Piece[], reduction: Reduction, what: string): void {
    addon.reduceScatter(this.number, idsOf(pieces.map((p) => p.tensor)), ownersOf(pieces), reduction, what);
  }

  /** Each piece becomes what its owner holds. */
  allGather(pieces: readonly Piece[], what: string): void {
    addon.allGather(this.number, idsOf(pieces.map((p) => p.tensor)), ownersOf(pieces), what);
  }

  /** The tensors become those of one rank. */
  broadcast(tensors: readonly Tensor[], from: number, what: string): void {
    const pieces = tensors.map((tensor) => ({ tensor, owner: from }));
    this.allGather(pieces, what);
  }

  /** Waits for all, so many seconds where one may need longer than usual. */
  barrier(what: string, seconds = this.seconds): void {
    addon.barrier(this.number, what, seconds);
  }

  /** What this rank does from now on, should others wait for it in vain. */
  enter(place: string): void {
    addon.enterPlace(this.number, place);
  }

  /** Ends the waits of the others, now and later, with that reason. */
  fail(why: string): void {
    addon.failRank(this.number, why);
  }

  close(): void {
    addon.closeRank(this.number);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

const idsOf = (tensors: readonly Tensor[]): Float64Array => Float64Array.from(tensors, (t) => t.id);
const ownersOf = (pieces: readonly Piece[]): Float64Array => Float64Array.from(pieces, (p) => p.owner);
