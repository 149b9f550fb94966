import { TrainMoeError } from '../../errors.js';
import type { ByteSink } from '../../hub/byte_sink.js';
import { encoded, GGML_TYPES, type GgmlType } from '../../hub/gguf/types.js';
import { type GgufTensor, type GgufValue, writeGguf } from '../../hub/gguf/write.js';
import type { Tokenizer } from '../../tokenizer/index.js';
import { hubTensors } from '../codec.js';
import type { Model } from '../family.js';
import { deepseekLayout } from './deepseek.js';
import type { Architecture, Describe, Place } from './layout.js';
import { deepseekMoeLayout, llamaLayout } from './llama.js';
import { ggufTokens } from './tokens.js';

/** The families that llama.cpp knows. */
const LAYOUTS: Readonly<Record<string, Describe>> = {
  llama: llamaLayout as Describe,
  'deepseek-moe': deepseekMoeLayout as Describe,
  'deepseek-v2': deepseekLayout('softmax') as Describe,
  'deepseek-v3': deepseekLayout('sigmoid') as Describe,
};

/** Types of weights, as `general.file_type` numbers them. */
const FILE_TYPES: Readonly<Record<GgmlType, number>> = { F32: 0, F16: 1, Q8_0: 7, BF16: 32 };

export interface GgufOptions {
  /** Type of the matrices; vectors and routers are f32. Matrices whose rows are no whole blocks of it are f16. */
  readonly type: GgmlType;
  readonly name: string;
  readonly tokenizer: Tokenizer;
  /** A chat template in Jinja. */
  readonly template?: string | undefined;
}

/** What is worth saying of a file that was written. */
export interface GgufWritten {
  readonly architecture: string;
  /** llama.cpp cuts text as this vocabulary was learnt. */
  readonly knownCut: boolean;
  /** Matrices that are f16 instead. */
  readonly wider: number;
}

/** What llama.cpp knows a model as. @throws TrainMoeError `bad-config` of a family, or a setting of it, that it does not have */
export function architectureOf({ family, config }: Pick<Model, 'family' | 'config'>): Architecture {
  const describe = LAYOUTS[family.name];
  if (describe) return describe(config as never);
  const known = Object.keys(LAYOUTS).join(', ');
  throw new TrainMoeError(
    'bad-config',
    `A ${family.name} model cannot be written as GGUF; those that can are ${known}.`,
  );
}

/**
 * Writes a model with its vocabulary as one GGUF file.
 * @throws TrainMoeError as architectureOf()
 */
export function writeModelGguf(sink: ByteSink, model: Model, options: GgufOptions): GgufWritten {
  const architecture = architectureOf(model);
  const { name: kind } = architecture;
  const tokens = ggufTokens(options.tokenizer, model.family.vocabulary(model.config), options.template);
  const settings: Record<string, GgufValue> = {
    'general.architecture': { type: 'string', value: kind },
    'general.name': { type: 'string', value: options.name },
    'general.file_type': { type: 'u32', value: FILE_TYPES[options.type] },
    'general.quantization_version': { type: 'u32', value: 2 },
    ...Object.fromEntries(Object.entries(architecture.settings).map(([key, value]) => [`${kind}.${key}`, value])),
    ...tokens.settings,
  };
  const tensors = tensorsOf(model, architecture, options.type);
  writeGguf(sink, settings, tensors);
  const wider = tensors.filter(({ type }) => type === 'F16').length;
  return { architecture: kind, knownCut: tokens.known, wider: options.type === 'Q8_0' ? wider : 0 };
}

/** A place of the file with the values that go there. */
interface Placed {
  readonly place: Place;
  readonly shape: readonly number[];
  readonly read: () => Float32Array;
}

function tensorsOf(model: Model, { place }: Architecture, type: GgmlType): GgufTensor[] {
  const byName = new Map<string, Placed[]>();
  for (const tensor of hubTensors(model)) {
    const places = place(tensor.name);
    const values = forReaders(places.length, tensor.values);
    for (const one of places) {
      const { change } = one;
      const read = () => (change ? change.values(values(), tensor.shape) : values());
      const placed = { place: one, shape: change?.shape ?? tensor.shape, read };
      const parts = byName.get(one.name);
      if (parts) parts.push(placed);
      else byName.set(one.name, [placed]);
    }
  }
  return [...byName].map(([name, parts]) => tensorOf(name, parts, type));
}

/** Makes something once for so many who ask for it, one soon after the other; then it is let go. */
function forReaders<T>(count: number, make: () => T): () => T {
  let made: { readonly it: T } | undefined;
  let left = count;
  return () => {
    made ??= { it: make() };
    const { it } = made;
    if (--left === 0) made = undefined;
    return it;
  };
}

function tensorOf(name: string, parts: readonly Placed[], wanted: GgmlType): GgufTensor {
  const [first] = parts as [Placed];
  const { experts } = first.place;
  const shape = experts === undefined ? first.shape : [experts, ...first.shape];
  const type = typeOf(first.place, shape, wanted);
  return {
    name,
    shape,
    type,
    data: () => {
      const pieces = parts.map(({ read }) => encoded(read(), type));
      return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
    },
  };
}

function typeOf({ f32 }: Place, shape: readonly number[], wanted: GgmlType): GgmlType {
  if (f32 || shape.length < 2) return 'F32';
  return shape.at(-1)! % GGML_TYPES[wanted].block === 0 ? wanted : 'F16';
}
