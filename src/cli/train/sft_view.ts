import {
  formatAmount,
  formatCount,
  formatDuration,
  formatPercent,
  formatUnit,
  remainingSeconds,
} from '../../terminal/format.js';
import { statusLine } from '../../terminal/status.js';
import { columnsOf, type Output, styleFor } from '../../terminal/style.js';
import type { SftEnd, SftEvent, SftFacts, SftRecord, SftScore } from '../../train/sft/events.js';
import { endLines, machineOf } from './ending.js';

/** Shows the events of a run of supervised fine-tuning on a terminal, in a pipe or in a CI log. */
export function sftView(output: Output): { show(event: SftEvent): void; done(): void } {
  const status = statusLine(output);
  const { dim, bold } = styleFor(output);
  let firstStep = 0;
  let started = 0;
  return {
    show(event) {
      switch (event.kind) {
        case 'note':
          return status.log(event.sentence);
        case 'reading':
          return status.update(-1, `reading: ${formatAmount(event.conversations, 'conversation')}`);
        case 'start':
          firstStep = event.run.firstStep;
          started = performance.now();
          for (const line of factLines(event.run)) status.log(dim(line));
          return;
        case 'step': {
          const { step, steps } = event.record;
          const seconds = (performance.now() - started) / 1000;
          const left = remainingSeconds(step - firstStep, steps - firstStep, seconds);
          return status.update(step, stepText(event.record, left));
        }
        case 'evaluation':
          return status.log(`step ${event.at}  ${scoreText(event.score)}`);
        case 'saved':
          return status.log(dim(`step ${event.at}  saved ${event.path}`));
        case 'end':
          status.done();
          for (const line of closing(event.end, columnsOf(output), bold)) output.write(`${line}\n`);
      }
    },
    done: () => status.done(),
  };
}

function factLines(f: SftFacts): string[] {
  const { counts } = f;
  const part = f.trainedParameters === f.parameters ? '' : `, of which ${formatCount(f.trainedParameters)} are trained`;
  return [
    ...(f.deviceReason ? [f.deviceReason] : []),
    `${machineOf(f)}, ${f.dtype}, ${formatCount(f.parameters)} parameters${part}; run folder ${f.out}`,
    `${formatAmount(f.examples, 'conversation')} to train on and ${formatCount(f.heldOut)} held out; ${formatCount(counts.tokens)} tokens, ${formatPercent(counts.trained / Math.max(counts.tokens, 1))} of them trained`,
    `chat template: ${f.template}`,
  ];
}

/** One line of a step. */
export function stepText(r: SftRecord, secondsLeft: number | undefined): string {
  return [
    `step ${r.step}/${r.steps}`,
    `epoch ${r.epoch}`,
    `loss ${r.loss.toFixed(3)}`,
    `lr ${r.lr.toExponential(1)}`,
    `norm ${r.gradNorm.toFixed(2)}`,
    `filled ${formatPercent(r.fill)}`,
    formatUnit(r.tokensPerSecond, 'tok/s'),
    ...(secondsLeft === undefined ? [] : [`${formatDuration(secondsLeft)} left`]),
  ].join('  ');
}

const scoreText = ({ loss, tokens, examples }: SftScore): string =>
  `held out: loss ${loss.toFixed(3)} on ${formatCount(tokens)} tokens of ${formatAmount(examples, 'conversation')}`;

function closing(end: SftEnd, columns: number, bold: (text: string) => string): string[] {
  const curve = { title: 'Loss', points: end.losses };
  const next = end.checkpoint ? ['', `  npx train-moe chat --model ${end.checkpoint}`] : [];
  return [...endLines(end, curve, scoreText, { columns, bold }), ...next];
}
