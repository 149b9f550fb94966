import { formatDuration } from '../../terminal/format.js';
import { readCurve } from '../curves.js';
import type { R1Row } from '../rows.js';
import type { R1Config } from '../settings.js';
import { barChart, heatMap, lineChart } from './charts.js';
import { escapeHtml, page } from './html.js';

/** What a stage's metrics are called, and what a reader calls them; a stage shows those that it has. */
const CURVES: readonly (readonly [metric: string, title: string])[] = [
  ['train/loss', 'loss'],
  ['accuracy', 'accuracy in training'],
  ['reward/mean', 'reward'],
  ['completion/length_mean', 'length of completions, tokens'],
  ['policy/entropy', 'entropy, nats'],
  ['policy/kl_reference', 'KL to the reference, nats'],
];

/** The report of a recipe as one HTML file: the table of all models, curves, expert load, and what the models write. */
export function reportOf({ options, settings }: R1Config, rows: readonly R1Row[]): string {
  const { preset, seed } = options;
  const title = `From base to reasoning model: ${preset}, seed ${seed}`;
  const [first] = rows;
  const body = [
    `<h1>${escapeHtml(title)}</h1>`,
    `<p class="soft">Task ${escapeHtml(settings.task.task ?? 'arith')}, ${first?.measured.result.questions ?? 0} held-out questions, the same for
every model; no model was trained on any of them. Accuracy is that of greedy answers; pass@1 is the mean over
${settings.evaluation.samples} answers sampled at temperature ${settings.evaluation.temperature}.</p>`,
    '<h2>All models</h2>',
    table(rows),
    `<div class="grid">${bars(rows)}</div>`,
    '<h2>How each was trained</h2>',
    ...rows.map(curves),
    '<h2>Expert load</h2>',
    '<p class="soft">Share of tokens that each expert got in the evaluation; all squares alike is an even load.</p>',
    `<div class="grid">${rows.map(({ title, measured }) => heatMap(title, measured.result.loads)).join('')}</div>`,
    '<h2>What the models answer</h2>',
    `<div class="grid">${rows.map(samples).join('')}</div>`,
    '<h2>Settings</h2>',
    `<details><summary>of every stage</summary><pre>${escapeHtml(JSON.stringify(settings, null, 2))}</pre></details>`,
  ];
  return page(title, body.join('\n'));
}

const percent = (share: number | undefined): string => (share === undefined ? '' : `${(100 * share).toFixed(1)} %`);

function table(rows: readonly R1Row[]): string {
  const titles = ['model', 'accuracy', 'pass@1', 'format', 'language', 'length', 'cut off', 'time'];
  const lines = rows.map(({ title, stage, measured: { result } }) => {
    const { greedy, sampled } = result;
    const cells = [
      title,
      percent(greedy.accuracy),
      percent(sampled.accuracy),
      percent(sampled.judged.format),
      percent(sampled.judged.language),
      sampled.length.toFixed(1),
      percent(sampled.truncated),
      formatDuration(stage.seconds),
    ];
    return `<tr>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`;
  });
  const head = titles.map((cell) => `<th scope="col">${cell}</th>`).join('');
  return `<div class="wide"><table><thead><tr>${head}</tr></thead><tbody>${lines.join('')}</tbody></table></div>`;
}

function bars(rows: readonly R1Row[]): string {
  const of = (figures: (row: R1Row) => number[]) => rows.map((row) => ({ label: row.title, values: figures(row) }));
  return [
    barChart(
      'Accuracy',
      of(({ measured: { result } }) => [result.greedy.accuracy, result.sampled.accuracy]),
      ['greedy', 'pass@1'],
    ),
    barChart(
      'Length of answers, tokens',
      of(({ measured: { result } }) => [result.sampled.length]),
      ['sampled'],
    ),
    barChart(
      'Format and language',
      of(({ measured: { result } }) => [result.sampled.judged.format ?? 0, result.sampled.judged.language ?? 0]),
      ['format', 'language'],
    ),
  ].join('');
}

function curves({ title, stage }: R1Row): string {
  const charts = CURVES.flatMap(([metric, name]) => {
    const points = readCurve(stage.folder, metric);
    return points.length > 1 ? [lineChart(name, points)] : [];
  });
  return charts.length === 0 ? '' : `<h3>${escapeHtml(title)}</h3><div class="grid">${charts.join('')}</div>`;
}

function samples({ title, measured }: R1Row): string {
  const shown = measured.result.shown.map(
    ({ prompt, completion, right }) =>
      `<div class="sample ${right ? 'right' : 'wrong'}"><b class="mark">${right ? '✓ right' : '✗ wrong'}</b> ` +
      `<b>${escapeHtml(prompt.slice(-300))}</b><br><code>${escapeHtml(completion)}</code></div>`,
  );
  return `<div class="card"><h3>${escapeHtml(title)}</h3>${shown.join('')}</div>`;
}
