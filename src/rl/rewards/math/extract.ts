/** Where an answer may be taken from. "boxed": only \boxed{..}. "any": the box, else what follows "####", else what follows "answer is", else a text that is one line. */
export type AnswerPlace = 'boxed' | 'any';

/** A one-line completion up to this length may be the answer itself. */
const SHORT = 200;

/** The content of the last \boxed{..} or \fbox{..} that closes; `\boxed 5` takes the next word. One pass from there. */
export function lastBoxed(text: string): string | undefined {
  let boxed = text.lastIndexOf('\\boxed');
  let fbox = text.lastIndexOf('\\fbox');
  for (;;) {
    const at = Math.max(boxed, fbox);
    if (at < 0) return undefined;
    const content = boxedAt(text, at);
    // An open brace swallows all that follows, so an earlier box is worth a try only near the end.
    if (content !== undefined || text.length - at > MAX_UNCLOSED) return content;
    if (at === boxed) boxed = previous(text, '\\boxed', at);
    else fbox = previous(text, '\\fbox', at);
  }
}

const previous = (text: string, command: string, at: number): number =>
  at === 0 ? -1 : text.lastIndexOf(command, at - 1);

/** Text after an unclosed box; more than one such tail would make the search quadratic. */
const MAX_UNCLOSED = 4096;

function boxedAt(text: string, at: number): string | undefined {
  let i = at + (text.startsWith('\\boxed', at) ? 6 : 5);
  while (text[i] === ' ' || text[i] === '\n') i++;
  if (text[i] !== '{') {
    const word = /^[^\s$\\]{1,100}/.exec(text.slice(i, i + 101));
    return word?.[0];
  }
  const start = i + 1;
  for (let depth = 0; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '{') depth++;
    else if (text[i] === '}' && --depth === 0) return text.slice(start, i);
  }
  return undefined;
}

/** What stands in the last <answer>..</answer>; the whole text where there is none. */
export function answerPart(text: string): string {
  const close = text.lastIndexOf('</answer>');
  const open = close < 0 ? -1 : text.lastIndexOf('<answer>', close);
  if (open >= 0) return text.slice(open + '<answer>'.length, close);
  const think = text.lastIndexOf('</think>');
  return think < 0 ? text : text.slice(think + '</think>'.length);
}

/** The final answer of a completion, as it is written; undefined where none can be told. Linear in the text. */
export function finalAnswer(completion: string, place: AnswerPlace = 'any'): string | undefined {
  const text = answerPart(completion);
  const boxed = lastBoxed(text);
  if (boxed !== undefined || place === 'boxed') return boxed?.trim();
  const hashes = text.lastIndexOf('####');
  if (hashes >= 0) return firstLine(text.slice(hashes + 4));
  const phrase = afterPhrase(text);
  if (phrase !== undefined) return phrase;
  const whole = text.trim();
  return whole.length <= SHORT && !whole.includes('\n') && whole !== '' ? whole : undefined;
}

const firstLine = (text: string): string => text.trimStart().split('\n', 1)[0]!.trim();

const PHRASES = ['answer is', 'answer:', 'Answer:', 'answer ='];

/** "The answer is 5." -> "5" */
function afterPhrase(text: string): string | undefined {
  let best = -1;
  let length = 0;
  for (const phrase of PHRASES) {
    const at = text.lastIndexOf(phrase);
    if (at > best) [best, length] = [at, phrase.length];
  }
  if (best < 0) return undefined;
  const line = firstLine(text.slice(best + length).replace(/^[\s:*]+/, ''));
  const sentence = line.split(/\.(?=\s)/, 1)[0]!;
  const answer = sentence.replace(/[.\s*]+$/, '').trim();
  return answer === '' ? undefined : answer;
}
