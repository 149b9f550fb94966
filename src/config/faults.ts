import type { z } from 'zod';
import { TrainMoeError } from '../errors.js';
import { type ConfigKey, configKeys } from './keys.js';
import { isSettings, type Merged, type Settings } from './layers.js';
import type { RunConfig } from './schema.js';
import { suggest } from './suggest.js';

/** One sentence for every fault that zod found, with the path, the value and where it was set. */
export function shapeFaults(error: z.ZodError, merged: Merged, keys: readonly ConfigKey[]): string[] {
  return error.issues.flatMap((issue) => {
    const at = issue.path.map(String);
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey([...at, key], merged, keys));
    const missing = issue.code === 'invalid_type' && valueAt(merged.values, at) === undefined;
    return [`${subject(at, merged)}: ${missing ? missingText(at, issue.expected, keys) : lowerFirst(issue.message)}`];
  });
}

/** What to give, in the words of the schema where it has some. */
function missingText(at: readonly string[], expected: string, keys: readonly ConfigKey[]): string {
  const described = keys.find(({ path }) => path === at.join('.'))?.description;
  const article = /^[aeiou]/.test(expected) ? 'an' : 'a';
  return `it is missing; give ${described || `${article} ${expected}`}`;
}

/** All faults of `what` as one error; `have` is its verb. */
export function faulty(what: string, have: 'has' | 'have', faults: readonly string[]): TrainMoeError {
  const [only] = faults;
  return new TrainMoeError(
    'bad-config',
    faults.length === 1
      ? `${what} ${have} a fault: ${only}${only?.endsWith('?') ? '' : '.'}`
      : `${what} ${have} ${faults.length} faults:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`,
  );
}

function unknownKey(path: readonly string[], merged: Merged, keys: readonly ConfigKey[]): string {
  const name = path.join('.');
  const meant = meantKey(name, keys);
  return `${name}${sourceOf(name, merged)}: there is no such setting${meant ? `; did you mean ${meant}?` : ''}`;
}

/** The setting or section that was probably meant: by the whole path first, then by the last word anywhere. */
export function meantKey(name: string, keys: readonly ConfigKey[] = configKeys()): string | undefined {
  const paths = new Set<string>();
  for (const { path } of keys) {
    const words = path.split('.');
    for (let depth = 1; depth <= words.length; depth++) paths.add(words.slice(0, depth).join('.'));
  }
  const last = (path: string): string => path.slice(path.lastIndexOf('.') + 1);
  const near = suggest(name, paths);
  if (near !== undefined) return near;
  const word = suggest(last(name), new Set([...paths].map(last)));
  return word === undefined ? undefined : [...paths].find((path) => last(path) === word);
}

function subject(path: readonly string[], merged: Merged): string {
  const name = path.join('.') || 'the configuration';
  const value = valueAt(merged.values, path);
  return `${name}${value === undefined ? '' : ` = ${JSON.stringify(value)}`}${sourceOf(name, merged)}`;
}

/** Where a setting, something inside it, or the array it is an element of was set. */
function sourceOf(name: string, { sources }: Merged): string {
  const inside = [...sources].find(([path]) => path.startsWith(`${name}.`))?.[1];
  const above = sources.get(name.slice(0, Math.max(0, name.lastIndexOf('.'))));
  const source = sources.get(name) ?? inside ?? above;
  return source === undefined ? '' : ` (${source})`;
}

function valueAt(values: Settings, path: readonly string[]): unknown {
  let value: unknown = values;
  for (const key of path) {
    if (Array.isArray(value)) value = value[Number(key)];
    else if (isSettings(value) && Object.hasOwn(value, key)) value = value[key];
    else return undefined;
  }
  return value;
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);

/** Settings that are fine alone and contradict each other. Looked for once the shape is right. */
export function contradictions(config: Pick<RunConfig, 'data' | 'train'>): string[] {
  const { data, train } = config;
  const faults: string[] = [];
  if (data.validation + data.test >= 1)
    faults.push(
      `data.validation + data.test = ${data.validation + data.test}: nothing is left to train on; keep the sum below 1`,
    );
  if (train.rows % train.accumulate !== 0)
    faults.push(`train.accumulate = ${train.accumulate}: it must divide train.rows = ${train.rows}`);
  if (train.schedule.drops.some((at, i, all) => i > 0 && at <= all[i - 1]!))
    faults.push(`train.schedule.drops = ${JSON.stringify(train.schedule.drops)}: the fractions must rise`);
  if (train.rowsRamp && train.rowsRamp.from > train.rows)
    faults.push(`train.rowsRamp.from = ${train.rowsRamp.from}: it must not exceed train.rows = ${train.rows}`);
  return faults;
}
