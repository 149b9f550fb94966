/** Settings as they come from one place, before any check. */
export interface Layer {
  /** Where they come from, for people: "preset nano", "run.json", "--train.steps". */
  readonly source: string;
  readonly values: Settings;
}

/** Nested settings, unchecked. */
export type Settings = Readonly<Record<string, unknown>>;

/** Merged settings, and for every leaf (by dotted path) the source that set it last. */
export interface Merged {
  readonly values: Settings;
  readonly sources: ReadonlyMap<string, string>;
}

/** A plain object, which is merged key by key; anything else (arrays too) is replaced whole. */
export function isSettings(value: unknown): value is Settings {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Merges layers from the weakest to the strongest. The layers are left as they are. */
export function mergeLayers(layers: readonly Layer[]): Merged {
  const sources = new Map<string, string>();
  let values: Settings = {};
  for (const layer of layers) values = merge(values, layer.values, '', layer.source, sources);
  return { values, sources };
}

function merge(under: Settings, over: Settings, at: string, source: string, sources: Map<string, string>): Settings {
  const merged = new Map(Object.entries(under));
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue;
    const path = at ? `${at}.${key}` : key;
    const below = merged.get(key);
    if (isSettings(value)) {
      if (!isSettings(below)) forget(sources, path);
      merged.set(key, merge(isSettings(below) ? below : {}, value, path, source, sources));
    } else {
      forget(sources, path);
      sources.set(path, source);
      merged.set(key, value);
    }
  }
  return Object.fromEntries(merged); // defines own keys, so a key named __proto__ stays a key
}

function forget(sources: Map<string, string>, path: string): void {
  for (const known of [...sources.keys()]) if (known === path || known.startsWith(`${path}.`)) sources.delete(known);
}

/** The settings { a: { b: value } } for the path "a.b". */
export function nest(path: string, value: unknown): Settings {
  return path.split('.').reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as Settings;
}

/** Every leaf with its dotted path, in order. */
export function* leaves(values: Settings, at = ''): Generator<readonly [path: string, value: unknown]> {
  for (const [key, value] of Object.entries(values)) {
    const path = at ? `${at}.${key}` : key;
    if (isSettings(value)) yield* leaves(value, path);
    else yield [path, value];
  }
}
