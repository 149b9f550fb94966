import type { z } from 'zod';
import { faulty, shapeFaults } from './faults.js';
import { keysOf } from './keys.js';
import { isSettings } from './layers.js';

/**
 * What a schema makes of settings that were given, with every default filled in. `what` names whose settings they are.
 * @throws TrainMoeError `bad-config` with every fault, its setting and value, unknown settings included
 */
export function checkSettings<S extends z.ZodType>(schema: S, values: unknown, what: string): z.output<S> {
  const parsed = schema.safeParse(values);
  if (parsed.success) return parsed.data;
  const given = { values: isSettings(values) ? values : {}, sources: new Map<string, string>() };
  throw faulty(`The settings of ${what}`, 'have', shapeFaults(parsed.error, given, keysOf(schema)));
}
