import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ioError } from '../hub/io_error.js';
import type { ShownSample } from './events.js';
import { isSkipped } from './rewards/types.js';
import type { Grader, Group } from './sample.js';

/** Where the completions of a step are: one JSON object a line. */
export const completionsPath = (out: string, step: number) =>
  join(out, 'completions', `step-${String(step).padStart(8, '0')}.jsonl`);

/** Writes the completions of the first `fraction` of the groups, with what each earned. A step done again replaces its file. */
export function writeCompletions(
  out: string,
  step: number,
  groups: readonly Group[],
  rewards: Grader['rewards'],
  fraction: number,
): void {
  const written = groups.slice(0, Math.ceil(groups.length * fraction));
  if (written.length === 0) return;
  const lines = written.flatMap(({ question, samples }) =>
    samples.map((s) => {
      const results = rewards.map(({ name }, i) => {
        const result = s.results[i]!;
        return [name, isSkipped(result) ? { skipped: result.reason } : result.value];
      });
      const { prompt, answer, index } = question;
      const { text: completion, reward, advantage, finish, ids } = s;
      const earned = { reward, advantage, rewards: Object.fromEntries(results) };
      return JSON.stringify({
        step,
        question: index,
        prompt,
        completion,
        answer,
        ...earned,
        finish,
        tokens: ids.length,
      });
    }),
  );
  const path = completionsPath(out, step);
  try {
    mkdirSync(join(out, 'completions'), { recursive: true });
    writeFileSync(`${path}.part`, `${lines.join('\n')}\n`);
    renameSync(`${path}.part`, path);
  } catch (cause) {
    throw ioError('write', path, cause);
  }
}

/** The best and the worst completion of the first groups that have any difference: what a person wants to see. */
export function shownSamples(groups: readonly Group[], most = 2): ShownSample[] {
  const telling = [...groups.filter((g) => !g.flat), ...groups.filter((g) => g.flat)].slice(0, most);
  return telling.flatMap(({ question, samples, flat }) => {
    const sorted = samples.filter((s) => s.reward !== undefined).toSorted((a, b) => b.reward! - a.reward!);
    const picked = flat ? sorted.slice(0, 1) : [sorted[0]!, sorted.at(-1)!];
    return picked.map(({ text, reward, advantage, ids }) => ({
      prompt: question.prompt,
      completion: text,
      answer: question.answer,
      reward,
      advantage,
      tokens: ids.length,
    }));
  });
}
