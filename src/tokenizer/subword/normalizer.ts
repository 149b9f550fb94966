import { z } from 'zod';
import { TrainMoeError } from '../../errors.js';
import { check } from '../check.js';
import { CodePointSet, classOf, MARK, SPACE, WHITE_SPACE } from '../classes.js';
import { translatePattern } from '../pattern.js';
import { bertNormalizer, lowercase } from './bert.js';
import { precompiled } from './charsmap.js';
import { replaceIn } from './replace.js';

const MARKS = new CodePointSet((code) => (classOf(code) & MARK) !== 0);

/** What happens to text before it is cut into words. */
export type Normalizer = (text: string) => string;

/** The `type`s that there are, besides Sequence. */
const TYPES = [
  'BertNormalizer',
  'NFC',
  'NFD',
  'NFKC',
  'NFKD',
  'StripAccents',
  'Lowercase',
  'Precompiled',
  'Replace',
  'Strip',
];

const Step = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('BertNormalizer'),
    clean_text: z.boolean().default(true),
    handle_chinese_chars: z.boolean().default(true),
    strip_accents: z.boolean().nullish(),
    lowercase: z.boolean().default(true),
  }),
  z.object({ type: z.enum(['NFC', 'NFD', 'NFKC', 'NFKD']) }),
  z.object({ type: z.literal('StripAccents') }),
  z.object({ type: z.literal('Lowercase') }),
  z.object({ type: z.literal('Precompiled'), precompiled_charsmap: z.string() }),
  z.object({
    type: z.literal('Replace'),
    pattern: z.union([z.object({ Regex: z.string().min(1) }), z.object({ String: z.string().min(1) })]),
    content: z.string(),
  }),
  z.object({ type: z.literal('Strip'), strip_left: z.boolean(), strip_right: z.boolean() }),
]);
type Step = z.infer<typeof Step>;

/** Reads the `normalizer` of a `tokenizer.json`; `where` begins the sentence of the `TrainMoeError` it may throw. */
export function readNormalizer(json: unknown, where: string): Normalizer {
  const steps = flatten(json).map((step) => readStep(step, where));
  return (text) => steps.reduce((out, step) => step(out), text);
}

function flatten(json: unknown): unknown[] {
  if (json === null || json === undefined) return [];
  const { type, normalizers } = json as { type?: unknown; normalizers?: unknown };
  return type === 'Sequence' && Array.isArray(normalizers) ? normalizers.flatMap(flatten) : [json];
}

function readStep(json: unknown, where: string): Normalizer {
  const { type } = json as { type?: unknown };
  if (!TYPES.includes(type as string)) {
    throw new TrainMoeError(
      'bad-data',
      `${where}: normalizer has type ${JSON.stringify(type)}; supported are ${TYPES.join(', ')} and Sequence.`,
    );
  }
  return normalizerOf(check(z.object({ normalizer: Step }), { normalizer: json }, where).normalizer, where);
}

function normalizerOf(step: Step, where: string): Normalizer {
  switch (step.type) {
    case 'BertNormalizer':
      return bertNormalizer({
        clean: step.clean_text,
        spaceIdeographs: step.handle_chinese_chars,
        stripAccents: step.strip_accents ?? step.lowercase,
        lowercase: step.lowercase,
      });
    case 'StripAccents':
      return (text) => replaceIn(text, MARKS, () => '');
    case 'Lowercase':
      return lowercase;
    case 'Precompiled':
      return precompiled(step.precompiled_charsmap, where);
    case 'Replace':
      return replacing(step.pattern, step.content);
    case 'Strip':
      return stripping(step.strip_left, step.strip_right);
    default:
      return (text) => text.normalize(step.type);
  }
}

function replacing(pattern: Extract<Step, { type: 'Replace' }>['pattern'], content: string): Normalizer {
  const wanted = 'String' in pattern ? pattern.String : translatePattern(pattern.Regex, 'oniguruma');
  return (text) => text.replaceAll(wanted, () => content);
}

function stripping(left: boolean, right: boolean): Normalizer {
  const start = new RegExp(`^[${WHITE_SPACE}]+`, 'u');
  return (text) => {
    const stripped = right ? trimEnd(text) : text;
    return left ? stripped.replace(start, '') : stripped;
  };
}

/** The text without the white space (as Unicode has it) at its end. */
export function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && (classOf(text.charCodeAt(end - 1)) & SPACE) !== 0) end--;
  return text.slice(0, end);
}
