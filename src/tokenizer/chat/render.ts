import { TrainMoeError } from '../../errors.js';
import type { Conversation, Message } from './conversation.js';
import { chooseMarks, MARK_NAMES, type Marks } from './marks.js';
import type { ChatTemplate } from './template.js';

/** A conversation in ids. `mask` is 1 where a token is trained: what the assistant said, and the token that ended it. */
export interface MaskedIds {
  /** [T] */
  readonly ids: Int32Array;
  /** [T] */
  readonly mask: Uint8Array;
  readonly trained: number;
}

/** What a template is given besides the messages. */
export interface RenderOptions {
  /** Which assistant turns are trained. Default all. */
  readonly turns?: 'all' | 'last' | undefined;
}

/** A stretch of rendered text; `trained` ones are encoded apart, as the model will continue a prompt when it generates. */
interface Piece {
  readonly text: string;
  readonly trained: boolean;
}

/**
 * Renders a conversation with the mask of its loss. Where the template has `{% generation %}` blocks they are the mask; else
 * each assistant turn is what the text gains over the prompt before it, which asks the template never to change what it
 * wrote earlier. After the last stop token of a turn nothing is trained. Tokens spelled in messages stay text.
 * @throws TrainMoeError `bad-config` for a template that changes earlier turns, trains nothing, or has its stop token
 *   outside the mask; `bad-data` for a conversation that it refuses. The sentence begins with the conversation's place.
 */
export function renderTemplate(
  template: ChatTemplate,
  conversation: Conversation,
  { turns = 'all' }: RenderOptions = {},
): MaskedIds {
  return at(conversation, () => {
    const wanted = wantedTurns(conversation.messages, turns);
    const marks = marksFor(template, conversation);
    const safe = template.protect(conversation, marks.inside);
    const pieces = conversation.plain
      ? plainPieces(safe)
      : template.marked
        ? blockPieces(template, safe, marks, wanted)
        : differencePieces(template, safe, marks, wanted);
    return encodePieces(template, pieces, marks, conversation.plain === true, wanted.length);
  });
}

/**
 * The ids to generate an answer from: the messages and the opening of the assistant's turn.
 * @throws TrainMoeError `bad-data` when the template refuses the messages
 */
export function renderPrompt(template: ChatTemplate, conversation: Conversation): Int32Array {
  return at(conversation, () => {
    const marks = marksFor(template, conversation);
    const safe = template.protect(conversation, marks.inside);
    const text = conversation.plain
      ? safe.messages.map(({ content }) => content).join('')
      : rendered(template, safe, safe.messages, marks, true).replaceAll(marks.open, '').replaceAll(marks.close, '');
    return Int32Array.from(encode(template, text, marks));
  });
}

function at<T>({ place }: Conversation, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (place === undefined || !(error instanceof TrainMoeError)) throw error;
    throw new TrainMoeError(error.code, `${place}: ${error.message}`, { cause: error });
  }
}

/** Indices of the assistant turns to be trained. */
function wantedTurns(messages: readonly Message[], turns: 'all' | 'last'): number[] {
  const spoken = messages.flatMap(({ role }, i) => (role === 'assistant' ? [i] : []));
  const chosen = (turns === 'last' ? spoken.slice(-1) : spoken).filter((i) => messages[i]!.train !== false);
  if (chosen.length > 0) return chosen;
  throw new TrainMoeError('bad-data', 'No turn of the assistant is to be trained in this conversation.');
}

function marksFor(template: ChatTemplate, { messages, tools }: Conversation): Marks {
  const extra = messages.flatMap((m) => (m.extra ? [JSON.stringify(m.extra)] : []));
  return chooseMarks([template.source, ...messages.map((m) => m.content), ...extra, JSON.stringify(tools ?? '')]);
}

function rendered(
  { jinja, tokenizer }: ChatTemplate,
  { tools }: Conversation,
  messages: readonly Message[],
  marks: Marks,
  prompt: boolean,
): string {
  const named = (id: number | undefined): string => (id === undefined ? '' : tokenizer.tokenOf(id));
  return jinja({
    messages: messages.map(({ role, content, extra }) => ({ ...extra, role, content })),
    add_generation_prompt: prompt,
    bos_token: named(tokenizer.bosId),
    eos_token: named(tokenizer.eosId),
    pad_token: named(tokenizer.padId),
    [MARK_NAMES.open]: marks.open,
    [MARK_NAMES.close]: marks.close,
    ...(tools && { tools }),
  });
}

/** Prompt and completion as they are; the end token is added when they are encoded. */
function plainPieces({ messages }: Conversation): Piece[] {
  return messages.map(({ role, content }) => ({ text: content, trained: role === 'assistant' }));
}

/** The blocks of a template that marks them; the i-th belongs to the i-th assistant turn. */
function blockPieces(template: ChatTemplate, safe: Conversation, marks: Marks, wanted: readonly number[]): Piece[] {
  const spoken = safe.messages.flatMap(({ role }, i) => (role === 'assistant' ? [i] : []));
  const text = rendered(template, safe, safe.messages, marks, false);
  const [first = '', ...blocks] = text.split(marks.open);
  if (first.includes(marks.close) || blocks.some((block) => block.split(marks.close).length !== 2))
    throw new TrainMoeError('bad-config', 'The chat template nests {% generation %} blocks or does not close one.');
  if (blocks.length !== spoken.length && wanted.length !== spoken.length)
    throw new TrainMoeError(
      'bad-config',
      `The chat template has ${blocks.length} {% generation %} blocks for ${spoken.length} assistant turns, so that single turns cannot be left out; train all of them.`,
    );
  const all = wanted.length === spoken.length;
  return [
    { text: first, trained: false },
    ...blocks.flatMap((block, i) => {
      const [inside = '', after = ''] = block.split(marks.close);
      return [
        { text: inside, trained: all || wanted.includes(spoken[i]!) },
        { text: after, trained: false },
      ];
    }),
  ];
}

/** Assistant turns by what each adds to the text: full(0..i) minus prompt(0..i-1), which must be its beginning. */
function differencePieces(
  template: ChatTemplate,
  safe: Conversation,
  marks: Marks,
  wanted: readonly number[],
): Piece[] {
  const { messages } = safe;
  const whole = rendered(template, safe, messages, marks, false);
  const pieces: Piece[] = [];
  let from = 0;
  for (const turn of wanted) {
    const before = rendered(template, safe, messages.slice(0, turn), marks, true);
    const after =
      turn === messages.length - 1 ? whole : rendered(template, safe, messages.slice(0, turn + 1), marks, false);
    if (!after.startsWith(before) || !whole.startsWith(after)) throw changesEarlier(after.startsWith(before), turn);
    pieces.push({ text: whole.slice(from, before.length), trained: false });
    pieces.push({ text: whole.slice(before.length, after.length), trained: true });
    from = after.length;
  }
  return [...pieces, { text: whole.slice(from), trained: false }];
}

function changesEarlier(later: boolean, turn: number): TrainMoeError {
  const what = later
    ? `changes turn ${turn + 1} once others follow`
    : `writes turn ${turn + 1} differently from the prompt that asks for it`;
  const advice = 'Put {% generation %} blocks into the template, train the last turn only, or give another template.';
  return new TrainMoeError('bad-config', `The chat template ${what}, so what to train cannot be told. ${advice}`);
}

function encodePieces(
  template: ChatTemplate,
  pieces: readonly Piece[],
  marks: Marks,
  plain: boolean,
  turns: number,
): MaskedIds {
  const { stopIds } = template;
  const ids: number[] = [];
  const mask: number[] = [];
  let stops = 0;
  for (const { text, trained } of pieces) {
    const some = encode(template, text, marks);
    if (plain && trained && stopIds[0] !== undefined) some.push(stopIds[0]);
    const last = some.findLastIndex((id) => stopIds.includes(id));
    if (trained && last >= 0) stops++;
    some.forEach((id, i) => {
      ids.push(id);
      mask.push(trained && (last < 0 || i <= last) ? 1 : 0);
    });
  }
  const trained = mask.reduce((sum, m) => sum + m, 0);
  if (trained === 0)
    throw new TrainMoeError('bad-config', `The chat template (${template.origin}) leaves no token to train.`);
  if (stops < turns) throw stopOutside(template, ids);
  return { ids: Int32Array.from(ids), mask: Uint8Array.from(mask), trained };
}

function stopOutside({ tokenizer, stopIds, origin }: ChatTemplate, ids: readonly number[]): TrainMoeError {
  const last = ids.findLast((id) => tokenizer.isSpecial(id));
  const ends = stopIds.map((id) => tokenizer.tokenOf(id)).join(', ') || 'none, for the tokenizer names no end token';
  const hint =
    last === undefined || stopIds.includes(last)
      ? 'Let the template end each assistant turn with it, inside the block that is trained.'
      : `If ${tokenizer.tokenOf(last)} is what ends a turn, name it as stop token.`;
  return new TrainMoeError(
    'bad-config',
    `The chat template (${origin}) has no stop token among what is trained of a turn, so a model would not learn to end; stop tokens: ${ends}. ${hint}`,
  );
}

/** Ids of rendered text: tokens that the template printed, and text around them without the marks. */
function encode({ matcher, tokenizer }: ChatTemplate, text: string, { inside }: Marks): number[] {
  const ids: number[] = [];
  for (const segment of matcher.segments(text)) {
    if ('token' in segment) ids.push(segment.token.id);
    else for (const id of tokenizer.encode(segment.text.replaceAll(inside, ''))) ids.push(id);
  }
  return ids;
}
