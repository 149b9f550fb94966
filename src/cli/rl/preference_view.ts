import type { PreferenceEnd, PreferenceEvent, PreferenceFacts, PreferenceRecord } from '../../rl/preference/events.js';
import type { PreferenceScore } from '../../rl/preference/figures.js';
import { formatAmount, formatCount, formatNumber, formatPercent } from '../../terminal/format.js';
import { statusLine } from '../../terminal/status.js';
import { columnsOf, type Output, styleFor } from '../../terminal/style.js';
import { endLines } from '../train/ending.js';

/** Shows the events of a run on preferences on a terminal, in a pipe or in a CI log. */
export function preferenceView(output: Output): { show(event: PreferenceEvent): void; done(): void } {
  const status = statusLine(output);
  const { dim, bold } = styleFor(output);
  let unit = 'pairs';
  let last = '';
  let step = 0;
  return {
    show(event) {
      switch (event.kind) {
        case 'note':
          return status.log(event.sentence);
        case 'start':
          unit = event.run.unit;
          for (const line of factLines(event.run)) status.log(dim(line));
          return;
        case 'phase':
          return status.update(step, `${last}${last && '  '}${event.phase} ${event.done}/${event.total} texts`);
        case 'step':
          step = event.record.step;
          last = preferenceStep(event.record);
          return status.update(step, last);
        case 'evaluation':
          return status.log(`step ${event.at}  ${scoreText(event.score, unit)}`);
        case 'saved':
          return status.log(dim(`step ${event.at}  saved ${event.path}`));
        case 'end':
          status.update(step, last); // not the phase that came last
          status.done();
          for (const line of closing(event.end, unit, columnsOf(output), bold)) output.write(`${line}\n`);
      }
    },
    done: () => status.done(),
  };
}

function factLines(f: PreferenceFacts): string[] {
  const left = [
    f.ties > 0 && `${formatCount(f.ties)} ties`,
    f.same > 0 && `${formatCount(f.same)} with equal sides`,
    f.tooLong > 0 && `${formatCount(f.tooLong)} too long`,
  ].filter((text) => text !== false);
  return [
    ...(f.deviceReason ? [f.deviceReason] : []),
    `${f.device}, ${formatAmount(f.threads, 'thread')}, ${f.dtype}, ${formatCount(f.parameters)} parameters; run folder ${f.out}`,
    `${f.title}: ${formatCount(f.train)} ${f.unit} to train on, ${formatCount(f.test)} held out by their prompt` +
      (left.length > 0 ? `; left out: ${left.join(', ')}` : ''),
    `conversations are written with ${f.template}`,
  ];
}

/** One line of a step. */
export function preferenceStep({ step, steps, metrics: m }: PreferenceRecord): string {
  const margin = m['rewards/margin'];
  return [
    `step ${step}/${steps}`,
    `loss ${m['train/loss']!.toFixed(4)}`,
    `right ${formatPercent(m['rewards/accuracy']!)}`,
    ...(margin === undefined ? [] : [`margin ${formatNumber(margin, 3)}`]),
    `norm ${formatNumber(m['train/grad_norm']!, 3)}`,
    `${formatNumber(m['speed/tokens_per_second']!, 3)} tokens/s`,
  ].join('  ');
}

function scoreText(
  { count, accuracy, interval: [low, high], margin, loss, baseline }: PreferenceScore,
  unit: string,
): string {
  const rule = unit === 'pairs' ? 'the longer answer' : 'the more frequent label';
  return (
    `${formatAmount(count, `held-out ${unit.replace(/s$/, '')}`)}: right ${formatPercent(accuracy)} (95% interval ${formatPercent(low)} to ${formatPercent(high)}; ` +
    `${rule} ${formatPercent(baseline)})  margin ${formatNumber(margin, 3)}  loss ${loss.toFixed(4)}`
  );
}

function closing(end: PreferenceEnd, unit: string, columns: number, bold: (text: string) => string): string[] {
  const curve = { title: 'Loss', points: end.losses };
  return endLines(end, curve, (score) => scoreText(score, unit), { columns, bold });
}
