import { TrainMoeError } from '../errors.js';
import { type Config, withValues } from '../hub/config_json.js';
import { matrix, type Param, type Specs } from '../nn/param.js';
import type { Tensor } from '../tensor/index.js';
import { type Family, wholePiece, whyMute } from './family.js';
import { isScoring, type LoadedModel, type LoadOptions, loadFolder, SCORING } from './folder.js';
import { familyOfHub } from './index.js';

/**
 * What a score means. pairwise: only differences count, the larger the better (Bradley-Terry). pointwise: sigmoid(score) is
 * the probability of the label 1.
 */
export type ScoreKind = 'pairwise' | 'pointwise';

/** The name on disk of the one row that turns a hidden state into a score. */
const TENSOR = 'score.weight';

/** A one-label classifier whose loss is binary cross-entropy has this `problem_type` in transformers. */
const POINTWISE = 'multi_label_classification';

type Hub = Readonly<Record<string, unknown>>;
type Tree = { readonly [name: string]: Specs | undefined };

const made = new Map<Family, Family>();

/**
 * The family of reward models over a decoder: its head is one row [1,C], so that hidden states [T,C] become scores [T,1].
 * The row starts at 0, where every pair is a tie and the loss is ln 2. Multi-token prediction is left out.
 */
export function scoring(family: Family): Family {
  const known = made.get(family);
  if (known) return known;
  const specs = (config: unknown): Specs => {
    const { head: _, headBias: _bias, next: _next, ...body } = family.specs(config) as Tree;
    const width = (body.embed as Param).shape[1]!;
    return { ...body, score: matrix([1, width], 0, 'replicated', { init: { constant: 0 } }) };
  };
  const { predictNext: _, ...rest } = family;
  const derived: Family = {
    ...rest,
    specs,
    head: (weights) => ({ weight: (weights as { score: Tensor }).score }),
    hubPieces: (config, path, param) =>
      path === 'score' ? wholePiece(TENSOR, param) : family.hubPieces(config, path, param),
    toHub: (config) => {
      const hub = family.toHub(config);
      const [name] = hub.architectures as [string];
      return {
        ...hub,
        architectures: [name.replace(/(For|LMHead)\w+$/, SCORING)],
        id2label: { 0: 'SCORE' },
        label2id: { SCORE: 0 },
      };
    },
  };
  made.set(family, derived);
  return derived;
}

/** A model that scores texts, and what its scores mean. */
export interface ScoringModel extends LoadedModel {
  readonly kind: ScoreKind;
}

/**
 * Loads a reward model, or a language model as the start of one.
 * @throws TrainMoeError `not-found`, `bad-config` or `bad-data` with the folder's name; `bad-config` when `kind` is given and
 *   the folder holds a reward model of the other kind
 */
export function loadScoring(path: string, options: LoadOptions & { readonly kind?: ScoreKind }): ScoringModel {
  let kind: ScoreKind = 'pairwise';
  const model = loadFolder(path, options, (hub) => {
    kind = kindOf(hub, path, options.kind);
    const base = familyOfHub(hub);
    const why = whyMute(base);
    if (why !== undefined)
      throw new TrainMoeError('bad-config', `${path} is ${why}; reward models are made of models that write.`);
    const family = scoring(base);
    if (isScoring(hub)) return { family };
    const width = (family.specs(family.fromHub(hub)) as { score: Param }).score.shape[1]!;
    return { family, absent: (name) => (name === TENSOR ? new Float32Array(width) : undefined) };
  });
  return { ...model, kind, hubConfig: withKind(model.hubConfig, kind) };
}

function kindOf(hub: Hub, path: string, asked: ScoreKind | undefined): ScoreKind {
  if (!isScoring(hub)) return asked ?? 'pairwise';
  const kind = hub.problem_type === POINTWISE ? 'pointwise' : 'pairwise';
  if (asked === undefined || asked === kind) return kind;
  throw new TrainMoeError('bad-config', `${path} is a ${kind} reward model, but a ${asked} one was asked for.`);
}

/** The problem_type tells the kinds apart when the folder is loaded again. */
const withKind = (config: Config, kind: ScoreKind): Config =>
  withValues(config, { problem_type: kind === 'pointwise' ? POINTWISE : undefined });
