import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';

/** `{a,b{c,d}}` and `{1..3}` become the list of patterns they stand for; other braces stay as they are. */
export function expandBraces(pattern: string): string[] {
  const open = findUnescaped(pattern, '{', 0);
  if (open < 0) return [pattern];
  const close = matchingBrace(pattern, open);
  if (close < 0) return [pattern];
  const choices = braceChoices(pattern.slice(open + 1, close));
  const tails = expandBraces(pattern.slice(close + 1));
  const head = pattern.slice(0, open);
  if (choices === undefined) return tails.map((tail) => pattern.slice(0, close + 1) + tail);
  return choices.flatMap(expandBraces).flatMap((choice) => tails.map((tail) => head + choice + tail));
}

function findUnescaped(text: string, wanted: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === wanted) return i;
  }
  return -1;
}

function matchingBrace(text: string, open: number): number {
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '{') depth++;
    else if (text[i] === '}' && --depth === 0) return i;
  }
  return -1;
}

const MAX_RANGE = 10_000;

function braceChoices(body: string): string[] | undefined {
  const range = /^(-?\d+)\.\.(-?\d+)$/.exec(body);
  if (range !== null) return numberRange(range[1]!, range[2]!);
  const choices: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < body.length; i++) {
    if (body[i] === '\\') i++;
    else if (body[i] === '{') depth++;
    else if (body[i] === '}') depth--;
    else if (body[i] === ',' && depth === 0) {
      choices.push(body.slice(from, i));
      from = i + 1;
    }
  }
  return choices.length === 0 ? undefined : [...choices, body.slice(from)];
}

function numberRange(first: string, last: string): string[] | undefined {
  const count = Math.abs(Number(last) - Number(first)) + 1;
  if (count > MAX_RANGE) return undefined;
  const step = Number(first) <= Number(last) ? 1 : -1;
  // As shells do: a leading zero asks for fixed width ({00..10}).
  const width = /^-?0\d/.test(first) || /^-?0\d/.test(last) ? Math.max(first.length, last.length) : 0;
  return Array.from({ length: count }, (_, i) => {
    const value = Number(first) + i * step;
    return (value < 0 ? '-' : '') + String(Math.abs(value)).padStart(value < 0 ? width - 1 : width, '0');
  });
}

/** Whether a path would be read as a pattern. */
export function isGlob(source: string): boolean {
  return /[*?[{]/.test(source);
}

/**
 * One path segment as a regular expression: `*` any run, `?` one character, `[a-z]`, `[!a]`, `\x` the character itself.
 * A leading dot must be written out, as in shells.
 */
export function segmentPattern(segment: string): RegExp {
  let out = segment.startsWith('.') || segment.startsWith('\\.') ? '' : '(?!\\.)';
  for (let i = 0; i < segment.length; i++) {
    const c = segment[i]!;
    const close = c === '[' ? segment.indexOf(']', i + 2) : -1;
    if (c === '*') {
      while (segment[i + 1] === '*') i++;
      out += '.*';
    } else if (c === '?') out += '.';
    else if (close > 0) {
      const body = segment.slice(i + 1, close).replace(/[\\[\]^&~]/g, '\\$&');
      out += /^(!|\\\^)/.test(body) ? `[^${body.replace(/^(!|\\\^)/, '')}]` : `[${body}]`;
      i = close;
    } else {
      if (c === '\\' && i + 1 < segment.length) i++;
      out += segment[i]!.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
    }
  }
  return new RegExp(`^${out}$`, 'su');
}

interface Step {
  /** `**`: any number of folders. */
  readonly deep: boolean;
  readonly literal: string | undefined;
  readonly matches: RegExp;
}

/**
 * The paths of files and folders that a pattern matches, sorted by code unit. `skip` says which folder names `*` and
 * `**` do not enter. Folders that cannot be read match nothing. `**` does not follow links to folders.
 */
export function glob(pattern: string, skip: (name: string) => boolean): string[] {
  const found = new Set<string>();
  for (const plain of expandBraces(pattern)) {
    const root = path.isAbsolute(plain) ? '/' : '';
    const steps = plain
      .split('/')
      .filter((segment) => segment !== '')
      .map(toStep);
    walkSteps(root, steps, 0, { found, skip, seen: new Set() });
  }
  return [...found].sort(byCodeUnit);
}

function toStep(segment: string): Step {
  const deep = segment === '**';
  const literal = /[*?[\\]/.test(segment) ? undefined : segment;
  return { deep, literal, matches: segmentPattern(segment) };
}

interface Walk {
  readonly found: Set<string>;
  readonly skip: (name: string) => boolean;
  /** (folder, step) pairs done, so that several `**` cannot make the walk explode. */
  readonly seen: Set<string>;
}

function walkSteps(folder: string, steps: readonly Step[], at: number, walk: Walk): void {
  const mark = `${at}:${folder}`;
  if (walk.seen.has(mark)) return;
  walk.seen.add(mark);
  const step = steps[at];
  if (step === undefined) {
    if (folder !== '') walk.found.add(folder);
    return;
  }
  if (step.literal !== undefined) {
    const next = path.join(folder, step.literal);
    if (statSync(next, { throwIfNoEntry: false }) !== undefined) walkSteps(next, steps, at + 1, walk);
    return;
  }
  if (step.deep) walkSteps(folder, steps, at + 1, walk);
  for (const entry of entriesOf(folder)) {
    const next = path.join(folder, entry.name);
    if (step.deep) {
      const enter = entry.isDirectory() && !entry.name.startsWith('.') && !walk.skip(entry.name);
      if (enter) walkSteps(next, steps, at, walk);
      else if (at === steps.length - 1 && !entry.isDirectory() && !entry.name.startsWith('.')) walk.found.add(next);
    } else if (step.matches.test(entry.name) && !walk.skip(entry.name)) {
      if (at === steps.length - 1 || isFolder(next)) walkSteps(next, steps, at + 1, walk);
    }
  }
}

function entriesOf(folder: string) {
  try {
    return readdirSync(folder === '' ? '.' : folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

function isFolder(target: string): boolean {
  return statSync(target, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** An order that no locale changes. */
export function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
