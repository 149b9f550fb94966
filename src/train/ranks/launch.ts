import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { TrainMoeError } from '../../errors.js';
import { addon } from '../../native.js';
import { openCrew } from '../../parallel/crew.js';
import type { FromRank, RankRun, RankRuns, RankTask, ToRank } from './messages.js';

/** How a run on several ranks is watched and stopped. */
export interface RanksHooks<Event> {
  readonly onEvent?: ((event: Event) => void) | undefined;
  /** Aborted, the run saves after the current step and ends. */
  readonly signal?: AbortSignal | undefined;
  /** Asked after every step that is told; true saves and ends the run, a step later at the most. */
  readonly shouldStop?: (() => boolean) | undefined;
}

/** The compiled program of a rank. */
const rankProgram = fileURLToPath(new URL('./rank.js', import.meta.url));

/** Copies from and to a GPU are worth their start from some megabytes on; on a CPU what stays in its caches is better. */
const GPU_SLOT_BYTES = 1 << 24;

/**
 * Trains on config.ranks processes: rank r computes on GPU r, or on its part of the CPU's threads, with its part of each batch's
 * rows. The first one prepares the data, and writes and tells all; the others are started when that is done.
 * @throws TrainMoeError `no-device` when there are fewer GPUs, `lost-rank` naming the rank that ended or no longer answers, and
 *   what the run throws in one process, with the rank where it is not the same on all
 */
export async function runOnRanks<K extends RankRun>(
  run: K,
  config: RankRuns[K]['config'],
  { onEvent = () => {}, signal, shouldStop }: RanksHooks<RankRuns[K]['event']>,
  program = rankProgram,
): Promise<RankRuns[K]['end']> {
  const visible = gpusOf(config);
  let end: RankRuns[K]['end'] | undefined;
  let thrown: { readonly error: unknown } | undefined;
  const stop: ToRank = { stop: true };
  const crew = openCrew({
    program,
    size: config.ranks,
    seconds: config.rankTimeout,
    ...(visible && { slotBytes: GPU_SLOT_BYTES }),
    environment: (rank): Record<string, string> => (visible ? { CUDA_VISIBLE_DEVICES: visible[rank]! } : {}),
    onMessage: (_, message) => {
      const said = message as FromRank;
      if ('prepared' in said) return startOthers(said.prepared);
      if (said.event.kind === 'end') end = said.event.end;
      if (thrown) return;
      try {
        onEvent(said.event as RankRuns[K]['event']);
        if (said.event.kind === 'step' && shouldStop?.()) crew.tell(stop);
      } catch (error) {
        thrown = { error }; // nobody is left to listen: the run saves and ends, and what was thrown is what comes of it
        crew.tell(stop);
      }
    },
  });
  const task: RankTask<K> = { run, config: { ...config, threads: threadsOfRank(config) } };
  const startOthers = (checkpoint: RankTask['checkpoint']) => {
    for (let rank = 1; rank < config.ranks; rank++) crew.start(rank, { ...task, checkpoint } satisfies RankTask<K>);
  };
  const onAbort = () => crew.tell(stop);
  crew.start(0, task);
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    await crew.ended;
  } catch (error) {
    throw thrown ? thrown.error : error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
  if (thrown) throw thrown.error;
  if (end) return end;
  throw new TrainMoeError('internal', 'The ranks ended without a result.');
}

/** @throws TrainMoeError `bad-config` when a step has rows that the ranks cannot share evenly */
export function refuseUneven(setting: string, rows: number, ranks: number): void {
  if (rows % ranks === 0) return;
  const [below, above] = [rows - (rows % ranks), rows + ranks - (rows % ranks)];
  throw new TrainMoeError(
    'bad-config',
    `${setting} = ${rows} cannot be shared evenly by ${ranks} ranks; take ${below > 0 ? `${below} or ` : ''}${above}, or another number of --ranks.`,
  );
}

/** What a rank is given of the threads. */
function threadsOfRank({ threads, ranks }: RankRuns[RankRun]['config']): number {
  return Math.max(1, Math.floor((threads ?? addon.hostInfo().threads) / ranks));
}

/** Where the NVIDIA driver lists its GPUs, a folder for each. */
const GPUS = '/proc/driver/nvidia/gpus';

/**
 * The GPU of each rank, as CUDA_VISIBLE_DEVICES names it; undefined where none is wanted or none is there.
 * @throws TrainMoeError `no-device` when there are fewer than ranks
 */
export function gpusOf(
  { device, ranks }: Pick<RankRuns[RankRun]['config'], 'device' | 'ranks'>,
  given = process.env.CUDA_VISIBLE_DEVICES,
  folder = GPUS,
): readonly string[] | undefined {
  if (device !== 'cuda' && device !== 'auto') return undefined;
  const listed = existsSync(folder) ? readdirSync(folder).map((_, i) => String(i)) : undefined;
  const named = given
    ?.split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const gpus = named ?? listed;
  if (!gpus) return device === 'auto' ? undefined : Array.from({ length: ranks }, (_, r) => String(r)); // CUDA says what is there
  if (gpus.length >= ranks) return gpus.slice(0, ranks);
  if (gpus.length === 0 && device === 'auto') return undefined;
  const why = named ? ` that CUDA_VISIBLE_DEVICES=${given} names` : '';
  throw new TrainMoeError(
    'no-device',
    `${ranks} ranks need a GPU each, but there are ${gpus.length}${why}; give --ranks ${Math.max(1, gpus.length)}, or --device cpu.`,
  );
}
