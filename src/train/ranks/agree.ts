import { TrainMoeError } from '../../errors.js';
import type { Communicator, Reduction } from '../../parallel/index.js';
import { type Device, from, device as openDevice, scope } from '../../tensor/index.js';

/** Numbers of each rank as one. */
function together(ranks: Communicator, values: readonly number[], reduction: Reduction, what: string): number[] {
  return scope(() => {
    const tensor = from(Float64Array.from(values), [values.length], { device: openDevice('cpu') });
    ranks.allReduce([tensor], reduction, what);
    return [...tensor.readDoubles()];
  });
}

/** Whether this process writes and tells: the only one, or the first of the ranks. */
export const isFirst = (ranks: Communicator | undefined): boolean => !ranks || ranks.rank === 0;

/** The sum over the ranks; on one, the number itself. */
export const summed = (ranks: Communicator | undefined, value: number, what: string): number =>
  ranks ? together(ranks, [value], 'sum', what)[0]! : value;

/** The sums over the ranks of several numbers. */
export const allSummed = (ranks: Communicator, values: readonly number[], what: string): number[] =>
  together(ranks, values, 'sum', what);

/** Whether any rank wishes it, so that all do the same. */
export const agreed = (ranks: Communicator | undefined, wish: boolean): boolean =>
  ranks ? together(ranks, [wish ? 1 : 0], 'max', 'end of the step')[0]! > 0 : wish;

const KINDS: readonly Device['kind'][] = ['cpu', 'cuda', 'emulator'];

/** @throws TrainMoeError `no-device` when some ranks compute on another kind of device than others, on all of them */
export function refuseMixed(ranks: Communicator, { kind }: Device): void {
  const code = KINDS.indexOf(kind);
  const [most, negated] = together(ranks, [code, -code], 'max', 'choice of a device') as [number, number];
  if (most === -negated) return;
  throw new TrainMoeError(
    'no-device',
    `Some of the ${ranks.size} ranks compute on ${KINDS[most]}, others on ${KINDS[-negated]}; "train-moe doctor" says what is wrong with a GPU, and --device names one kind for all.`,
  );
}
