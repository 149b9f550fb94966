import { readFileSync } from 'node:fs';
import { TrainMoeError } from '../errors.js';
import { ioError } from './io_error.js';
import { JsonScanner } from './json_scanner.js';

/**
 * A JSON settings file (`config.json`, `generation_config.json`, `tokenizer_config.json`) that is written back as it
 * was found: keys we do not know stay, in their order, and so does the spelling of numbers. Python tells `10000.0`
 * from `10000`, and some readers refuse an integer where they expect a float.
 */
export interface Config {
  /** The parsed values, for validation and use. */
  readonly values: Readonly<Record<string, unknown>>;
  /** @internal The same as syntax; only this module looks inside. */
  readonly syntax: ObjectSyntax;
}

type Syntax = ScalarSyntax | ArraySyntax | ObjectSyntax;
interface ScalarSyntax {
  readonly kind: 'scalar';
  /** As in the file: `1e-06`, `"caf\u00e9"`. */
  readonly text: string;
  readonly value: unknown;
}
interface ArraySyntax {
  readonly kind: 'array';
  readonly items: readonly Syntax[];
}
interface ObjectSyntax {
  readonly kind: 'object';
  readonly entries: ReadonlyMap<string, Syntax>;
}

const WORDS: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ['true', true],
  ['false', false],
  ['null', null],
  // Python's json module writes and reads these three, though JSON does not have them.
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
]);

export const EMPTY_CONFIG: Config = { values: {}, syntax: { kind: 'object', entries: new Map() } };

/** Throws `not-found` when the file cannot be read, `bad-data` when it is not a JSON object. */
export function readConfig(path: string): Config {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw ioError('read', path, cause);
  }
  return parseConfig(text, path);
}

export function parseConfig(text: string, path: string): Config {
  const scanner = new JsonScanner(text, path);
  if (scanner.peek() !== '{') throw scanner.unexpected('a JSON object');
  const syntax = parse(scanner) as ObjectSyntax;
  scanner.end();
  return configOf(syntax);
}

/** Two spaces a level and a newline at the end, as Python's `json.dump(indent=2)` writes it in Hugging Face folders. */
export function formatConfig(config: Config): string {
  return `${format(config.syntax, '')}\n`;
}

/**
 * The same file with some keys set. A key that exists keeps its place, and whatever is equal to what stood there keeps
 * its spelling, at every depth; a new key comes last; a key set to `undefined` goes. Numbers made with `float` are
 * written with a decimal point. Throws `bad-argument` for a value that JSON cannot hold.
 */
export function withValues(config: Config, changes: Readonly<Record<string, unknown>>): Config {
  const entries = new Map(config.syntax.entries);
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined) entries.delete(key);
    else entries.set(key, syntaxOf(value, entries.get(key), key));
  }
  return configOf({ kind: 'object', entries });
}

const FLOAT = Symbol('float');

/** A number for `withValues` that Python shall read as a float: 10000 is written `10000.0`. */
export function float(value: number): unknown {
  return { [FLOAT]: value };
}

function configOf(syntax: ObjectSyntax): Config {
  return { values: evaluate(syntax) as Record<string, unknown>, syntax };
}

function parse(scanner: JsonScanner): Syntax {
  const first = scanner.peek();
  if (first === '{') {
    const entries = new Map<string, Syntax>();
    scanner.object((key) => entries.set(key, parse(scanner)));
    return { kind: 'object', entries };
  }
  if (first === '[') {
    const items: Syntax[] = [];
    scanner.array(() => items.push(parse(scanner)));
    return { kind: 'array', items };
  }
  if (first === '"') return { kind: 'scalar', ...scanner.stringWithText() };
  for (const [text, value] of WORDS) if (scanner.tryWord(text)) return { kind: 'scalar', text, value };
  const text = scanner.numberText();
  return { kind: 'scalar', text, value: Number(text) };
}

function evaluate(syntax: Syntax): unknown {
  if (syntax.kind === 'scalar') return syntax.value;
  if (syntax.kind === 'array') return syntax.items.map(evaluate);
  // fromEntries defines own properties, so that a key `__proto__` is a key like any other.
  return Object.fromEntries([...syntax.entries].map(([key, value]) => [key, evaluate(value)]));
}

function format(syntax: Syntax, indent: string): string {
  if (syntax.kind === 'scalar') return syntax.text;
  const inner = `${indent}  `;
  const [open, close] = syntax.kind === 'array' ? '[]' : '{}';
  const lines =
    syntax.kind === 'array'
      ? syntax.items.map((item) => inner + format(item, inner))
      : [...syntax.entries].map(([key, value]) => `${inner}${JSON.stringify(key)}: ${format(value, inner)}`);
  return lines.length === 0 ? `${open}${close}` : `${open}\n${lines.join(',\n')}\n${indent}${close}`;
}

/** Syntax for `value` that reuses `old` wherever the two say the same. */
function syntaxOf(value: unknown, old: Syntax | undefined, where: string): Syntax {
  if (Array.isArray(value)) {
    const before = old?.kind === 'array' ? old.items : [];
    return { kind: 'array', items: value.map((item, i) => syntaxOf(item, before[i], `${where}[${i}]`)) };
  }
  if (typeof value === 'object' && value !== null) {
    if (FLOAT in value) return scalarSyntax(value[FLOAT] as number, old, where, floatText);
    return objectSyntax(value as Record<string, unknown>, old, where);
  }
  return scalarSyntax(value, old, where, plainText);
}

/** Keys the old object had come first and in its order. */
function objectSyntax(value: Readonly<Record<string, unknown>>, old: Syntax | undefined, where: string): ObjectSyntax {
  const before: ReadonlyMap<string, Syntax> = old?.kind === 'object' ? old.entries : new Map();
  const present = Object.keys(value).filter((key) => value[key] !== undefined);
  const kept = [...before.keys()].filter((key) => present.includes(key));
  const keys = [...kept, ...present.filter((key) => !before.has(key))];
  return {
    kind: 'object',
    entries: new Map(keys.map((key) => [key, syntaxOf(value[key], before.get(key), `${where}.${key}`)])),
  };
}

function scalarSyntax(
  value: unknown,
  old: Syntax | undefined,
  where: string,
  spell: (value: unknown) => string | undefined,
): ScalarSyntax {
  if (old?.kind === 'scalar' && Object.is(old.value, value)) return old;
  const text = spell(value);
  if (text !== undefined) return { kind: 'scalar', text, value };
  throw new TrainMoeError('bad-argument', `${where} is a ${typeof value}, which a JSON file cannot hold.`);
}

function plainText(value: unknown): string | undefined {
  return typeof value === 'number' ? spelled(value) : JSON.stringify(value);
}

function floatText(value: unknown): string {
  const text = spelled(value as number);
  return /^-?[0-9]+$/.test(text) ? `${text}.0` : text;
}

/** Non-finite numbers are spelled as Python spells them; `String` would drop the sign of -0. */
function spelled(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value);
}
