import type { CurateEnd, CurateEvent, CurateFacts, CurateHooks, CuratePlace } from '../../rl/curate/index.js';
import { formatAmount, formatCount, formatDuration, formatPercent } from '../../terminal/format.js';
import { statusLine } from '../../terminal/status.js';
import { type Output, styleFor } from '../../terminal/style.js';
import { stoppable } from '../stop.js';

/** Runs `body`, which makes data from a model, and shows how it goes: on standard error with `json`. */
export function withCurateView(json: boolean, body: (hooks: CurateHooks) => Promise<CurateEnd>): Promise<CurateEnd> {
  const view = curateView(json ? process.stderr : process.stdout);
  const sentence = 'Stopping after this batch; press Ctrl-C again to end at once: the batch will be done again.';
  return stoppable(view, (signal) => body({ onEvent: view.show, shouldStop: () => signal.aborted }), sentence);
}

/** Shows the events on a terminal, in a pipe or in a CI log. */
export function curateView(output: Output): { show(event: CurateEvent): void; done(): void } {
  const status = statusLine(output);
  const { dim, bold } = styleFor(output);
  return {
    show(event) {
      switch (event.kind) {
        case 'note':
          return status.log(event.sentence);
        case 'start':
          for (const line of factLines(event.run)) status.log(dim(line));
          return;
        case 'phase':
          return status.update(event.at.next, `${placeText(event.at)}  ${event.phase} ${event.done}`);
        case 'batch':
          return status.update(event.at.next, placeText(event.at));
        case 'end':
          status.done();
          for (const line of endLines(event.end, bold)) output.write(`${line}\n`);
      }
    },
    done: () => status.done(),
  };
}

function factLines(f: CurateFacts): string[] {
  return [
    ...(f.deviceReason ? [f.deviceReason] : []),
    `${f.device}, ${formatAmount(f.threads, 'thread')}, ${f.dtype}, ${formatCount(f.parameters)} parameters; folder ${f.out}`,
    `${f.name}; ${f.rewards.length > 0 ? `judged by ${f.rewards.join(' + ')}` : 'no reward, only filters'}`,
  ];
}

function placeText({ next, total, counts }: CuratePlace): string {
  const { sampled, kept } = counts;
  return `question ${next}/${total}  sampled ${sampled}  kept ${kept}${sampled > 0 ? ` (${formatPercent(kept / sampled)})` : ''}`;
}

function endLines(end: CurateEnd, bold: (text: string) => string): string[] {
  const { stopped, questions, passedOver, sampled, correct, kept, tokens, dropped } = end;
  const reasons = Object.entries(dropped).map(([reason, count]) => `${reason} ${count}`);
  return [
    '',
    bold(
      stopped
        ? `Stopped behind question ${questions}; run the same command to go on.`
        : `Done: ${formatDuration(end.seconds)}.`,
    ),
    `${questions} questions${passedOver > 0 ? ` (${passedOver} too long)` : ''}, ${sampled} completions, ${formatCount(tokens)} tokens`,
    `right ${correct}, kept ${kept}${reasons.length > 0 ? `; dropped: ${reasons.join(', ')}` : ''}`,
    `written to ${end.data}`,
  ];
}
