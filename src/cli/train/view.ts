import { formatBars } from '../../terminal/bars.js';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatNumber,
  formatPercent,
  formatUnit,
  remainingSeconds,
} from '../../terminal/format.js';
import { statusLine } from '../../terminal/status.js';
import { columnsOf, type Output, styleFor } from '../../terminal/style.js';
import type { Evaluation } from '../../train/evaluate.js';
import type { RunEnd, RunFacts, StepRecord, TrainEvent } from '../../train/events.js';
import { curveLines, endTitle, machineOf } from './ending.js';

/** Shows the events of a run on a terminal, in a pipe or in a CI log. */
export interface TrainView {
  show(event: TrainEvent): void;
  done(): void;
}

export interface ViewOptions {
  /** Steps between lines where the output is no terminal. */
  readonly everySteps: number;
}

/** Preparation counts bytes and merges, not steps; as one step it is shown as often as the clock allows. */
const BEFORE_STEPS = -1;

export function trainView(output: Output, { everySteps }: ViewOptions): TrainView {
  const status = statusLine(output, { everySteps });
  const { dim, bold } = styleFor(output);
  let firstStep = 0;
  let started = 0;
  let last = '';
  return {
    show(event) {
      switch (event.kind) {
        case 'note':
          return status.log(event.sentence);
        case 'progress':
          return status.update(BEFORE_STEPS, progressText(event));
        case 'start':
          firstStep = event.run.firstStep;
          started = performance.now();
          for (const line of factLines(event.run)) status.log(dim(line));
          return;
        case 'step': {
          const { step } = event;
          const left = remainingSeconds(
            step.step - firstStep,
            step.steps - firstStep,
            (performance.now() - started) / 1000,
          );
          last = stepText(step, left);
          return status.update(step.step, last);
        }
        case 'evaluation':
          return status.log(evaluationText(event.at, event.evaluation));
        case 'saved':
          return status.log(dim(`step ${event.at}  saved ${event.path}`));
        case 'end':
          status.done();
          for (const line of endLines(event.end, columnsOf(output), bold)) output.write(`${line}\n`);
      }
    },
    done: () => status.done(),
  };
}

function progressText({ phase, done, total, unit }: Extract<TrainEvent, { kind: 'progress' }>): string {
  const amount = unit === 'B' ? formatBytes(done) : `${formatCount(done)} ${unit}`;
  return total ? `${phase}: ${formatPercent(done / total)} (${amount})` : `${phase}: ${amount}`;
}

function factLines(f: RunFacts): string[] {
  const { memory: m, ranks } = f;
  return [
    ...(f.deviceReason ? [f.deviceReason] : []),
    `${machineOf(f)}, ${f.dtype}, ${formatUnit(f.peakFlops, 'FLOP/s')} measured; run folder ${f.out}`,
    `${formatCount(m.parameters)} parameters, ${formatCount(f.activeParameters)} active per token; ` +
      `${formatCount(f.trainTokens)} tokens to train on, ${formatCount(f.validationTokens)} to validate`,
    `memory${ranks > 1 ? ' of each' : ''} about ${formatBytes(m.total)}: weights and gradients ${formatBytes(m.weights)}, optimizer ${formatBytes(m.optimizer)}, activations ${formatBytes(m.activations)}`,
  ];
}

/** One line of a step: `step 120/1000  loss 4.213  norm 0.91  lr 2.0e-3  3,412 tok/s  MFU 41%  left 3m 2s`. */
export function stepText(s: StepRecord, left: number): string {
  return [
    `step ${s.step}/${s.steps}`,
    `loss ${s.loss.toFixed(3)}`,
    ...(s.mtpLoss === undefined ? [] : [`mtp ${s.mtpLoss.toFixed(3)}`]),
    ...(s.relationLoss === undefined ? [] : [`pairs ${s.relationLoss.toFixed(3)}`]),
    ...(s.softLoss === undefined ? [] : [`teacher ${s.softLoss.toFixed(3)}`]),
    `norm ${formatNumber(s.gradNorm, 3)}`,
    `lr ${s.lr.toExponential(1)}`,
    `${formatCount(Math.round(s.tokensPerSecond))} tok/s`,
    `MFU ${formatPercent(s.mfu)}`,
    ...(s.imbalance === undefined ? [] : [`busiest expert ${s.imbalance.toFixed(1)}x`]),
    `left ${formatDuration(left)}`,
  ].join('  ');
}

function evaluationText(step: number, { loss, bitsPerByte, relation }: Evaluation): string {
  const bits = bitsPerByte === undefined ? '' : `  ${bitsPerByte.toFixed(3)} bits per byte`;
  const pairs = relation ? `  pairs ${relation.loss.toFixed(3)}, ${formatPercent(relation.accuracy)} right` : '';
  return `step ${step}  validation loss ${loss.toFixed(3)}${bits}${pairs}`;
}

function endLines(end: RunEnd, columns: number, bold: (text: string) => string): string[] {
  const width = Math.min(columns, 100);
  const lines = ['', bold(endTitle(end)), ...curveLines({ title: 'Training loss', points: end.losses }, columns)];
  if (end.loads.length > 0) lines.push('', ...loadLines(end.loads, width));
  if (end.evaluation) lines.push('', evaluationText(end.step, end.evaluation));
  lines.push(`peak memory ${formatBytes(end.peakMemory)}`);
  if (end.checkpoint) lines.push(`model ${end.checkpoint}`);
  return lines;
}

/** The expert load of the layer that is least even, and how uneven the others are. */
function loadLines(loads: RunEnd['loads'], width: number): string[] {
  const ratio = (shares: readonly number[]) => Math.max(...shares) * shares.length;
  const [layer, shares] = loads.reduce((a, b) => (ratio(b[1]) > ratio(a[1]) ? b : a));
  return [
    `Expert load of layer ${layer}, the least even (an even share is ${formatPercent(1 / shares.length)})`,
    formatBars(
      shares.map((value, e) => ({ label: `expert ${e}`, value, text: formatPercent(value) })),
      { width: Math.min(width, 72), mark: 1 / shares.length },
    ),
  ];
}
