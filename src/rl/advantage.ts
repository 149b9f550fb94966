/** What makes rewards comparable within a group of completions of one prompt. Plain arithmetic on rewards. */

/** `std`: (r - mean) / (std + 1e-6), std with n - 1 (GRPO, arXiv:2402.03300). `mean`: r - mean (Dr. GRPO, arXiv:2503.20783). */
export type AdvantageKind = 'std' | 'mean';

/** Keeps a group of equal rewards at 0 instead of 0/0. */
const EPSILON = 1e-6;

/**
 * Advantages of one group. A completion without a reward (its grader failed) takes no part: its advantage is 0, and mean
 * and deviation are those of the others. A group of fewer than two rewards says nothing, so its advantages are 0.
 */
export function groupAdvantages(rewards: readonly (number | undefined)[], kind: AdvantageKind): number[] {
  const known = rewards.filter((r) => r !== undefined);
  if (known.length < 2) return rewards.map(() => 0);
  const { mean, std } = moments(known);
  const scale = kind === 'std' ? 1 / (std + EPSILON) : 1;
  return rewards.map((r) => (r === undefined ? 0 : (r - mean) * scale));
}

/** Mean, and standard deviation with n - 1; 0 for a single value. */
export function moments(values: readonly number[]): { readonly mean: number; readonly std: number } {
  if (values.length === 0) return { mean: 0, std: 0 };
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const squares = values.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  return { mean, std: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0 };
}

/** True when all rewards of a group are the same (or fewer than two are known): it has nothing to teach. */
export function isFlat(rewards: readonly (number | undefined)[]): boolean {
  const known = rewards.filter((r) => r !== undefined);
  return known.length < 2 || known.every((r) => r === known[0]);
}

/**
 * DAPO's soft punishment of long answers (arXiv:2503.14476, equation 13): 0 up to maxTokens - buffer, then linearly down to
 * -1 at maxTokens.
 */
export function overlongPenalty(length: number, maxTokens: number, buffer: number): number {
  const free = maxTokens - buffer;
  return length <= free ? 0 : Math.max((free - length) / buffer, -1);
}

/**
 * The chance that at least one of k completions is right, estimated without bias from n of which c are:
 * 1 - C(n-c, k) / C(n, k). Chen et al., arXiv:2107.03374.
 */
export function passAtK(n: number, c: number, k: number): number {
  let none = 1;
  for (let i = 0; i < k; i++) none *= Math.max(n - c - i, 0) / (n - i);
  return 1 - none;
}
