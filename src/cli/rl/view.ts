import type { TaskScore } from '../../rl/evaluate.js';
import type { GrpoEnd, GrpoEvent, GrpoFacts, GrpoRecord } from '../../rl/events.js';
import { formatAmount, formatCount, formatDuration, formatNumber, formatPercent } from '../../terminal/format.js';
import { statusLine } from '../../terminal/status.js';
import { columnsOf, type Output, styleFor } from '../../terminal/style.js';
import { formatTable } from '../../terminal/table.js';
import { endLines } from '../train/ending.js';

/** Steps between tables of completions. */
const TABLE_EVERY = 10;

/** Shows the events of a GRPO run on a terminal, in a pipe or in a CI log. */
export function grpoView(output: Output): { show(event: GrpoEvent): void; done(): void } {
  const status = statusLine(output);
  const { dim, bold } = styleFor(output);
  let last = '';
  return {
    show(event) {
      switch (event.kind) {
        case 'note':
          return status.log(event.sentence);
        case 'start':
          for (const line of factLines(event.run)) status.log(dim(line));
          return;
        case 'phase':
          return status.update(
            event.step,
            `${last}${last && '  '}step ${event.step + 1}: ${event.phase} ${event.done}${waited(event.seconds)}`,
          );
        case 'step': {
          last = stepText(event.record);
          if (event.record.step % TABLE_EVERY === 1)
            for (const line of sampleTable(event.record, columnsOf(output))) status.log(line);
          return status.update(event.record.step, last);
        }
        case 'evaluation':
          return status.log(`step ${event.at}  ${scoreText(event.score)}`);
        case 'saved':
          return status.log(dim(`step ${event.at}  saved ${event.path}`));
        case 'end':
          status.update(event.end.step, last); // not the phase that came last
          status.done();
          for (const line of closing(event.end, columnsOf(output), bold)) output.write(`${line}\n`);
      }
    },
    done: () => status.done(),
  };
}

/** How long a phase has shown nothing new. */
const waited = (seconds: number | undefined): string => (seconds === undefined ? '' : ` (${formatDuration(seconds)})`);

function factLines(f: GrpoFacts): string[] {
  return [
    ...(f.deviceReason ? [f.deviceReason] : []),
    `${f.device}, ${formatAmount(f.threads, 'thread')}, ${f.dtype}, ${formatCount(f.parameters)} parameters; run folder ${f.out}`,
    `task ${f.task}; reward ${f.rewards.join(' + ')}`,
    'A loss near 0 is normal: the advantages of a group sum to 0, so the loss measures no progress. Watch the reward.',
  ];
}

/** One line of a step. */
export function stepText({ step, steps, metrics: m }: GrpoRecord): string {
  const entropy = m['policy/entropy'];
  return [
    `step ${step}/${steps}`,
    `reward ${formatNumber(m['reward/mean']!, 3)}`,
    `right ${formatPercent(m.accuracy!)}`,
    `length ${Math.round(m['completion/length_mean']!)}`,
    ...(entropy === undefined ? [] : [`entropy ${entropy.toFixed(2)}`, `loss ${m['policy/loss']!.toFixed(4)}`]),
    `flat ${formatPercent(m['reward/zero_variance']!)}`,
    `${formatNumber(m['speed/completions_per_second']!, 3)} completions/s`,
  ].join('  ');
}

function sampleTable({ step, shown }: GrpoRecord, width: number): string[] {
  if (shown.length === 0) return [];
  const line = (text: string) => JSON.stringify(text).slice(1, -1);
  const rows = shown.map((s) => [
    line(s.prompt.slice(-60)),
    line(s.completion),
    s.answer ?? '',
    s.reward === undefined ? 'skipped' : formatNumber(s.reward, 3),
    formatNumber(s.advantage, 2),
  ]);
  const columns = [
    { title: 'prompt' },
    { title: 'completion' },
    { title: 'answer' },
    { title: 'reward', align: 'right' as const },
    { title: 'advantage', align: 'right' as const },
  ];
  return [`Completions of step ${step}`, ...formatTable(columns, rows, { width: Math.min(width, 120) }).split('\n')];
}

function scoreText({ accuracy, passAt, length, questions }: TaskScore): string {
  const passes = passAt.slice(1).map(([k, share]) => `  pass@${k} ${formatPercent(share)}`);
  return `${questions} test questions: right ${formatPercent(accuracy)}${passes.join('')}  length ${Math.round(length)}`;
}

function closing(end: GrpoEnd, columns: number, bold: (text: string) => string): string[] {
  const curve = { title: 'Reward', points: end.rewards };
  return [...endLines(end, curve, scoreText, { columns, bold }), ...(end.fallen ? [end.fallen] : [])];
}
