import { z } from 'zod';
import { runConfigSchema } from './schema.js';

/** One setting of the run configuration, as its schema describes it. */
export interface ConfigKey {
  /** Dotted path: "train.optimizer.lr". */
  readonly path: string;
  readonly type: 'number' | 'boolean' | 'string' | 'array' | 'open';
  /** For an array: what its elements are. */
  readonly element?: 'number' | 'string';
  readonly values?: readonly string[];
  readonly description: string;
  readonly default?: unknown;
}

interface Node {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly enum?: readonly string[];
  readonly description?: string;
  readonly default?: unknown;
}

/** The JSON Schema of the configuration, for editors. */
export function jsonSchema(): object {
  return z.toJSONSchema(runConfigSchema, { io: 'input' });
}

/**
 * Every setting, in the order of the schema. A section whose keys are not fixed (a record, a union of model families) is
 * one `open` key; what lies below it is checked by the schema alone.
 */
export const configKeys = (): readonly ConfigKey[] => keysOf(runConfigSchema);

/** The same of any schema. */
export function keysOf(schema: z.ZodType): readonly ConfigKey[] {
  const keys: ConfigKey[] = [];
  const walk = (node: Node, path: string): void => {
    if (!node.properties) {
      keys.push(keyOf(node, path));
      return;
    }
    for (const [name, child] of Object.entries(node.properties)) walk(child, path ? `${path}.${name}` : name);
  };
  walk(z.toJSONSchema(schema, { io: 'input' }) as Node, '');
  return keys;
}

/** What every setting is that nobody sets, by its dotted path. */
export const defaultsOf = (schema: z.ZodType): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    keysOf(schema).flatMap(({ path, default: value }) => (value === undefined ? [] : [[path, value]])),
  );

function keyOf(node: Node, path: string): ConfigKey {
  const about = {
    path,
    description: node.description ?? '',
    ...(node.default === undefined ? {} : { default: node.default }),
    ...(node.enum ? { values: node.enum } : {}),
  };
  switch (node.type) {
    case 'integer':
    case 'number':
      return { ...about, type: 'number' };
    case 'boolean':
    case 'string':
      return { ...about, type: node.type };
    case 'array':
      return { ...about, type: 'array', element: node.items?.type === 'string' ? 'string' : 'number' };
    default:
      return { ...about, type: 'open' };
  }
}
