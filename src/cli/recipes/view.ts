import type { R1End } from '../../recipes/rows.js';
import type { R1Event } from '../../recipes/session.js';
import type { StageEvent } from '../../recipes/stages.js';
import { formatCount, formatDuration, formatNumber, formatPercent, remainingSeconds } from '../../terminal/format.js';
import { statusLine } from '../../terminal/status.js';
import { columnsOf, type Output, styleFor } from '../../terminal/style.js';
import { closing } from './closing.js';

export interface R1View {
  show(event: R1Event): void;
  end(end: R1End): void;
  done(): void;
}

/** Shows a recipe: a line per stage that stays, a status line within it, and a table with curves at the end. */
export function r1View(output: Output): R1View {
  const status = statusLine(output);
  const { dim, bold } = styleFor(output);
  let began = 0;
  let firstStep: number | undefined;
  const left = (step: number, steps: number) => {
    firstStep ??= step - 1;
    return remainingSeconds(step - firstStep, steps - firstStep, (performance.now() - began) / 1000);
  };
  return {
    show(event) {
      if (event.kind === 'begin') {
        began = performance.now();
        firstStep = undefined;
        return status.update(0, `${event.name} ...`);
      }
      if (event.kind === 'finish') {
        const { name, seconds } = event.stage;
        return status.log(
          `${bold(name)} ${dim(event.found ? 'was there already' : `done in ${formatDuration(seconds)}`)}`,
        );
      }
      if (event.kind === 'note') return status.log(dim(event.sentence));
      if (event.event.kind === 'note') return status.log(dim(`${event.stage}: ${event.event.sentence}`));
      const at = progressOf(event);
      if (at === undefined) return;
      const remaining = formatDuration(left(at.step, at.steps));
      status.update(at.step, `${event.stage}  ${at.step}/${at.steps}  ${at.text}  left ${remaining}`);
    },
    end(end) {
      status.done();
      for (const line of closing(end, Math.min(columnsOf(output), 120), styleFor(output))) output.write(`${line}\n`);
    },
    done: () => status.done(),
  };
}

interface Progress {
  readonly step: number;
  readonly steps: number;
  readonly text: string;
}

/** How far a stage is; undefined for what else happens in it. */
function progressOf(event: Exclude<R1Event, StageEvent | { kind: 'note' }>): Progress | undefined {
  if (event.kind === 'train' && event.event.kind === 'step') {
    const { step, steps, loss, tokensPerSecond } = event.event.step;
    return { step, steps, text: `loss ${loss.toFixed(3)}  ${formatCount(Math.round(tokensPerSecond))} tok/s` };
  }
  if (event.kind === 'grpo' && event.event.kind === 'step') {
    const { step, steps, metrics } = event.event.record;
    const [reward, length] = [metrics['reward/mean']!, metrics['completion/length_mean']!];
    const right = formatPercent(metrics.accuracy!);
    return { step, steps, text: `reward ${formatNumber(reward, 3)}  right ${right}  length ${length.toFixed(1)}` };
  }
  if (event.kind === 'sft' && event.event.kind === 'step') {
    const { step, steps, loss } = event.event.record;
    return { step, steps, text: `loss ${loss.toFixed(3)}` };
  }
  if (event.kind === 'preference' && event.event.kind === 'step') {
    const { step, steps } = event.event.record;
    return { step, steps, text: 'pairs' };
  }
  if (event.kind === 'curate' && event.event.kind === 'batch') {
    const { next, total, counts } = event.event.at;
    return { step: next, steps: total, text: `${counts.kept} of ${counts.sampled} completions kept` };
  }
  return undefined;
}
