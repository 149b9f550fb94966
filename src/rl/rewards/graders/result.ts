import type { RewardResult } from '../types.js';
import { skip } from '../types.js';
import { MAX_LOG, MAX_REASON } from './protocol.js';

/** A short text for anything that can be thrown, also for things whose conversion throws. */
export function describeThrown(thrown: unknown): string {
  try {
    const text = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
    return text.slice(0, MAX_REASON);
  } catch {
    return 'something that cannot be shown';
  }
}

/** What a grader returned, as a result: numbers and booleans are values, everything unfit is a skip with its reason. */
export function toResult(returned: unknown): RewardResult {
  if (typeof returned === 'number' || typeof returned === 'boolean') return toResult({ value: Number(returned) });
  if (typeof returned !== 'object' || returned === null)
    return skip(`the reward returned ${describeThrown(typeof returned)}, not a number`);
  const { value, skip: skipped, reason, log } = returned as Record<string, unknown>;
  if (skipped === true)
    return skip(typeof reason === 'string' ? reason.slice(0, MAX_REASON) : 'the reward gave no reason');
  if (typeof value !== 'number' || !Number.isFinite(value))
    return skip(`the reward's value is ${describeThrown(value)}, not a finite number`);
  if (log === undefined) return { value };
  return { value, log: plainLog(log) };
}

/** A log that survives JSON and is small. */
function plainLog(log: unknown): Readonly<Record<string, unknown>> {
  try {
    const json = JSON.stringify(log);
    if (json.length > MAX_LOG) return { dropped: `a log of ${json.length} characters` };
    const plain: unknown = JSON.parse(json);
    return typeof plain === 'object' && plain !== null && !Array.isArray(plain)
      ? (plain as Record<string, unknown>)
      : { value: plain };
  } catch (error) {
    return { dropped: describeThrown(error) };
  }
}
