import { isSkipped, type RewardResult, skip, value } from './types.js';

/** The weighted sum of one sample's rewards; skipped if any is, since a sum of the others would mean something else. */
export function combine(results: readonly RewardResult[], weights?: readonly number[]): RewardResult {
  let total = 0;
  for (const [i, result] of results.entries()) {
    if (isSkipped(result)) return skip(result.reason);
    total += (weights?.[i] ?? 1) * result.value;
  }
  return value(total);
}
