import { leaves, type Settings } from '../../config/layers.js';

/**
 * Which settings are others than those that a checkpoint was made with, as a sentence for people: a run goes on with the new
 * ones, and is then not the run that it would have been. Undefined when all are the same, or those of the checkpoint unknown.
 */
export function changesSince(before: Settings | undefined, now: Settings): string | undefined {
  if (before === undefined) return undefined;
  const [old, present] = [written(before), written(now)];
  const changed = [...new Set([...old.keys(), ...present.keys()])].filter(
    (path) => old.get(path) !== present.get(path),
  );
  if (changed.length === 0) return undefined;
  const told = changed.map((path) => `${path} ${old.get(path) ?? 'unset'} -> ${present.get(path) ?? 'unset'}`);
  return `Other settings than before: ${told.join(', ')}.`;
}

/** Every setting that has a value, as JSON. */
const written = (settings: Settings): ReadonlyMap<string, string> =>
  new Map([...leaves(settings)].filter(([, v]) => v !== undefined).map(([path, v]) => [path, JSON.stringify(v)]));
