import type { CheckSample, DataCheck } from '../../data/index.js';
import { formatBars } from '../../terminal/bars.js';
import { formatAmount, formatCount, formatNumber, formatPercent } from '../../terminal/format.js';
import { columnsOf, type Output, type Style, styleFor } from '../../terminal/style.js';
import { type ChatTemplate, loadTokenizer, openChatTemplate } from '../../tokenizer/index.js';
import { modelFolder } from '../../train/run/model_folder.js';

/** The template of the model or tokenizer that was named; undefined when none was. */
export async function templateFor(args: {
  readonly model?: string | undefined;
  readonly tokenizer?: string | undefined;
  readonly template?: string | undefined;
  readonly stopTokens?: readonly string[] | undefined;
}): Promise<ChatTemplate | undefined> {
  const folder = args.model === undefined ? undefined : modelFolder(args.model);
  const path = args.tokenizer ?? folder;
  if (path === undefined) return undefined;
  const { template, stopTokens } = args;
  return openChatTemplate(loadTokenizer(path), { folder: args.tokenizer ? undefined : folder, template, stopTokens });
}

/** Longest text of a sample that is shown. */
const SHOWN = 1500;

/** The check for people: what is trained is in colour, or in double brackets where there are no colours. */
export function checkLines(c: DataCheck, template: ChatTemplate | undefined, output: Output): string[] {
  const style = styleFor(output);
  const lines = c.conversations > 0 ? figureLines(c, template, style, output) : [];
  if (c.bad > 0)
    lines.push(
      style.red(`${formatAmount(c.bad, 'bad record')} ${c.bad === 1 ? 'was' : 'were'} passed over; the first:`),
      `  ${c.firstBad}`,
    );
  if (c.conversations === 0) lines.push(style.red(`There is no conversation in ${c.file}.`));
  else if (c.bad === 0) lines.push('No bad record.');
  return lines;
}

function figureLines(c: DataCheck, template: ChatTemplate | undefined, style: Style, output: Output): string[] {
  const { lengths, unit } = c;
  const roles = Object.entries(c.turns).map(([role, count]) => `${formatCount(count)} ${role}`);
  const lines = [
    `${c.file}: ${formatAmount(c.conversations, 'conversation')} in the format ${c.format ?? 'unknown'}`,
    `turns: ${roles.join(', ')}`,
    `${formatCount(c.total)} ${unit}, ${formatPercent(c.trained / Math.max(c.total, 1))} of them trained`,
    `length in ${unit}: mean ${formatNumber(lengths.mean)}, median ${lengths.median}, 95 % up to ${lengths.p95}, longest ${lengths.max}`,
    formatBars(
      lengths.histogram.map(({ upTo, count }) => ({ label: `up to ${upTo}`, value: count })),
      { width: Math.min(columnsOf(output), 80) },
    ),
  ];
  if (template) lines.push(`chat template: ${template.origin}`);
  for (const sample of c.samples)
    lines.push('', style.bold(sample.place ?? c.file), sampleText(sample, style).trimEnd());
  return [...lines, ''];
}

function sampleText({ pieces }: CheckSample, style: Style): string {
  let room = SHOWN;
  let out = '';
  for (const { text, trained } of pieces) {
    if (room <= 0) return `${out} ..`;
    const part = printable(text.slice(0, room));
    room -= text.length;
    const marked = style.isColorSupported ? style.green(part) : `[[${part}]]`;
    out += trained ? marked : style.dim(part);
  }
  return out;
}

/** Control characters of the data must not reach the terminal. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what is looked for
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '�');
}
