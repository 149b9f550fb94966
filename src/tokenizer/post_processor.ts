import { z } from 'zod';
import { TrainMoeError } from '../errors.js';
import { check } from './check.js';
import type { Encoded } from './text_tokenizer.js';

/** A place in a template: one of the texts, or tokens that are added. */
export type TemplatePiece =
  | { readonly sequence: 'A' | 'B'; readonly typeId: number }
  | { readonly ids: readonly number[]; readonly typeId: number };

/** What goes around one text, and around two: the `post_processor` of a `tokenizer.json`. */
export interface PostProcessor {
  readonly single: readonly TemplatePiece[];
  readonly pair: readonly TemplatePiece[];
}

/** Adds nothing: the two texts follow each other. */
const PLAIN: PostProcessor = {
  single: [{ sequence: 'A', typeId: 0 }],
  pair: [
    { sequence: 'A', typeId: 0 },
    { sequence: 'B', typeId: 1 },
  ],
};

const Id = z.number().int().min(0);
const Piece = z.union([
  z.object({ Sequence: z.object({ id: z.enum(['A', 'B']), type_id: Id.default(0) }) }),
  z.object({ SpecialToken: z.object({ id: z.string(), type_id: Id.default(0) }) }),
]);
const Named = z.tuple([z.string(), Id]);
const Json = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ByteLevel') }),
  z.object({ type: z.literal('BertProcessing'), sep: Named, cls: Named }),
  z.object({ type: z.literal('RobertaProcessing'), sep: Named, cls: Named }),
  z.object({
    type: z.literal('TemplateProcessing'),
    single: z.array(Piece),
    pair: z.array(Piece),
    special_tokens: z.record(z.string(), z.object({ ids: z.array(Id).min(1) })),
  }),
]);
type Json = z.infer<typeof Json>;
const TYPES = ['ByteLevel', 'BertProcessing', 'RobertaProcessing', 'TemplateProcessing'];

/**
 * Reads the `post_processor` of a `tokenizer.json` whose vocabulary has `vocabSize` ids.
 * Throws a `TrainMoeError` with `bad-data`; `where` begins its sentence.
 */
export function readPostProcessor(json: unknown, vocabSize: number, where: string): PostProcessor {
  const adding = flatten(json)
    .map((step) => readStep(step, where))
    .filter((step) => step.type !== 'ByteLevel');
  if (adding.length > 1) {
    throw new TrainMoeError(
      'bad-data',
      `${where}: post_processor adds tokens in ${adding.length} steps (${adding.map((step) => step.type).join(', ')}); one is supported.`,
    );
  }
  const out = adding[0] ? piecesOf(adding[0], where) : PLAIN;
  const beyond = [...out.single, ...out.pair]
    .flatMap((piece) => ('ids' in piece ? piece.ids : []))
    .find((id) => id >= vocabSize);
  if (beyond === undefined) return out;
  throw new TrainMoeError(
    'bad-data',
    `${where}: post_processor adds the id ${beyond}, but ids of this vocabulary are 0 to ${vocabSize - 1}.`,
  );
}

function flatten(json: unknown): unknown[] {
  if (json === null || json === undefined) return [];
  const { type, processors } = json as { type?: unknown; processors?: unknown };
  return type === 'Sequence' && Array.isArray(processors) ? processors.flatMap(flatten) : [json];
}

function readStep(json: unknown, where: string): Json {
  const { type } = json as { type?: unknown };
  if (TYPES.includes(type as string)) {
    return check(z.object({ post_processor: Json }), { post_processor: json }, where).post_processor;
  }
  throw new TrainMoeError(
    'bad-data',
    `${where}: post_processor has type ${JSON.stringify(type)}; supported are ${TYPES.join(', ')} and Sequence.`,
  );
}

function piecesOf(json: Exclude<Json, { type: 'ByteLevel' }>, where: string): PostProcessor {
  if (json.type === 'TemplateProcessing') return templateOf(json, where);
  const cls = { ids: [json.cls[1]], typeId: 0 };
  const sep = { ids: [json.sep[1]], typeId: 0 };
  const first = { sequence: 'A', typeId: 0 } as const;
  const single = [cls, first, sep];
  if (json.type === 'RobertaProcessing') return { single, pair: [...single, sep, { sequence: 'B', typeId: 0 }, sep] };
  return { single, pair: [...single, { sequence: 'B', typeId: 1 }, { ...sep, typeId: 1 }] };
}

function templateOf(json: Extract<Json, { type: 'TemplateProcessing' }>, where: string): PostProcessor {
  const known = new Map(Object.entries(json.special_tokens));
  const read = (pieces: readonly z.infer<typeof Piece>[], name: string, ...sequences: string[]): TemplatePiece[] => {
    const out = pieces.map((piece): TemplatePiece => {
      if ('Sequence' in piece) return { sequence: piece.Sequence.id, typeId: piece.Sequence.type_id };
      const token = known.get(piece.SpecialToken.id);
      if (token) return { ids: token.ids, typeId: piece.SpecialToken.type_id };
      throw new TrainMoeError(
        'bad-data',
        `${where}: post_processor.${name} has the token ${JSON.stringify(piece.SpecialToken.id)}, which is not among its special_tokens.`,
      );
    });
    const used = new Set(out.flatMap((piece) => ('sequence' in piece ? [piece.sequence as string] : [])));
    if (used.size === sequences.length && sequences.every((one) => used.has(one))) return out;
    throw new TrainMoeError(
      'bad-data',
      `${where}: post_processor.${name} uses ${used.size === 0 ? 'no text' : [...used].join(' and ')}, expected ${sequences.join(' and ')}.`,
    );
  };
  return { single: read(json.single, 'single', 'A'), pair: read(json.pair, 'pair', 'A', 'B') };
}

/** Puts ids into the template: that of one text, or of two where a second is given. */
export function applyPostProcessor(
  { single, pair }: PostProcessor,
  first: ArrayLike<number>,
  second?: ArrayLike<number>,
): Encoded {
  const parts = (second ? pair : single).map((piece) => ({
    ids: 'ids' in piece ? piece.ids : piece.sequence === 'A' ? first : second!,
    typeId: piece.typeId,
  }));
  const length = parts.reduce((sum, { ids }) => sum + ids.length, 0);
  const encoded = { ids: new Uint32Array(length), typeIds: new Uint32Array(length) };
  let at = 0;
  for (const { ids, typeId } of parts) {
    encoded.ids.set(ids, at);
    encoded.typeIds.fill(typeId, at, at + ids.length);
    at += ids.length;
  }
  return encoded;
}
