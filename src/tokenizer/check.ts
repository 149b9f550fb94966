import type { z } from 'zod';
import { TrainMoeError } from '../errors.js';

/**
 * Parses with a schema; throws a `TrainMoeError` with `bad-data` that names the first place that does not fit.
 * @param kind what the file is taken for
 */
export function check<T extends z.ZodType>(
  schema: T,
  value: unknown,
  where: string,
  kind = 'tokenizer.json',
): z.infer<T> {
  const read = schema.safeParse(value);
  if (read.success) return read.data;
  const issue = read.error.issues[0]!;
  const path = issue.path.join('.') || 'the file';
  throw new TrainMoeError('bad-data', `${where}: ${path} does not fit a ${kind} (${issue.message}).`);
}
