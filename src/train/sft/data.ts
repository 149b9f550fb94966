import { createHash } from 'node:crypto';
import { packRows, positionsOf, readConversations } from '../../data/index.js';
import { splitAt, splitPosition } from '../../data/split.js';
import { TrainMoeError } from '../../errors.js';
import { type ChatTemplate, type MaskedIds, renderTemplate } from '../../tokenizer/index.js';
import type { SftSettings } from './config.js';

/** The examples of a run in memory, and what became of the conversations that were read. */
export interface SftData {
  readonly train: readonly MaskedIds[];
  readonly validation: readonly MaskedIds[];
  readonly counts: SftCounts;
  /** Equal for data that gives equal steps: a checkpoint goes on with no other. */
  readonly fingerprint: string;
}

/** What the files of a run held. */
export interface SftCounts {
  readonly conversations: number;
  /** Longer than a row: left out, or cut at its end. */
  readonly dropped: number;
  readonly cut: number;
  /** Tokens of the examples kept, and those that are trained. */
  readonly tokens: number;
  readonly trained: number;
}

type DataSettings = Pick<
  SftSettings,
  'data' | 'validationData' | 'format' | 'promptAs' | 'turns' | 'length' | 'overlong' | 'validation'
>;

/**
 * Reads, renders and splits the conversations. Which side an example is on depends on its content alone, so that it never
 * changes when data is added. Parameters of the split are ignored where there are files to validate on.
 * @throws TrainMoeError naming file and line of the first bad record, or when nothing is left to train on
 */
export async function loadSftData(
  settings: DataSettings,
  template: ChatTemplate,
  onProgress: (conversations: number) => void = () => {},
): Promise<SftData> {
  const hash = createHash('sha256');
  const counts = { conversations: 0, dropped: 0, cut: 0, tokens: 0, trained: 0 };
  const sides = { train: [] as MaskedIds[], validation: [] as MaskedIds[] };
  const share = settings.validationData.length > 0 ? 0 : settings.validation;
  const take = async (files: readonly string[], held: boolean) => {
    for (const file of files)
      for await (const conversation of readConversations(file, settings)) {
        const example = fitted(renderTemplate(template, conversation, settings), settings, counts);
        onProgress(++counts.conversations);
        if (!example) continue;
        counts.tokens += example.ids.length;
        counts.trained += example.trained;
        const digest = digestOf(example);
        const side = held || splitAt(splitPosition(digest), { validation: share, test: 0 }) === 'validation';
        hash.update(digest).update(side ? 'v' : 't');
        sides[side ? 'validation' : 'train'].push(example);
      }
  };
  await take(settings.data, false);
  await take(settings.validationData, true);
  if (sides.train.length === 0) throw nothingLeft(settings, counts);
  return { ...sides, counts, fingerprint: hash.digest('hex') };
}

/** An example no longer than a row; undefined when it is dropped. */
function fitted(
  example: MaskedIds,
  { length, overlong }: Pick<SftSettings, 'length' | 'overlong'>,
  counts: { dropped: number; cut: number },
): MaskedIds | undefined {
  if (positionsOf(example) <= length) return example;
  const mask = example.mask.slice(0, length + 1);
  const trained = mask.reduce((sum, m) => sum + m, 0);
  if (overlong === 'drop' || trained === 0) {
    counts.dropped++;
    return undefined;
  }
  counts.cut++;
  return { ids: example.ids.slice(0, length + 1), mask, trained };
}

function digestOf({ ids, mask }: MaskedIds): Buffer {
  const bytes = Buffer.from(ids.buffer, ids.byteOffset, ids.byteLength);
  return createHash('sha256').update(bytes).update(mask).digest();
}

function nothingLeft({ data, length, validation }: DataSettings, counts: SftCounts): TrainMoeError {
  const why =
    counts.conversations === 0
      ? 'there is no conversation'
      : `of ${counts.conversations} conversations ${counts.dropped} are longer than length = ${length}, and validation = ${validation} holds out the others`;
  return new TrainMoeError('bad-data', `Nothing is left to train on in ${data.join(', ')}: ${why}.`);
}

/** Which examples each step trains: a pure function of the settings and the step. */
export interface SftPlan {
  readonly steps: number;
  readonly stepsPerEpoch: number;
  /** Rows of examples of a step, and the epoch it belongs to. */
  rowsOf(step: number): { readonly rows: readonly (readonly number[])[]; readonly epoch: number };
}

/**
 * Every epoch is packed anew, when it begins, and dealt in steps of `rows` rows; its last step may have fewer. All epochs have
 * as many steps, as packRows() has as many rows in each.
 */
export function planSteps(
  examples: readonly MaskedIds[],
  {
    rows,
    length,
    seed,
    epochs,
    steps = Number.POSITIVE_INFINITY,
  }: Pick<SftSettings, 'rows' | 'length' | 'seed' | 'epochs' | 'steps'>,
): SftPlan {
  const sizes = examples.map(positionsOf);
  let packed = { epoch: 0, rows: packRows(sizes, length, seed, 0) };
  const epochRows = (epoch: number) => {
    if (packed.epoch !== epoch) packed = { epoch, rows: packRows(sizes, length, seed, epoch) };
    return packed.rows;
  };
  const stepsPerEpoch = Math.ceil(packed.rows.length / rows);
  return {
    steps: Math.min(epochs * stepsPerEpoch, steps),
    stepsPerEpoch,
    rowsOf(step) {
      const epoch = Math.floor(step / stepsPerEpoch);
      const first = step % stepsPerEpoch;
      return { rows: epochRows(epoch).slice(first * rows, (first + 1) * rows), epoch };
    },
  };
}
