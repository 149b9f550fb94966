import { randomUUID } from 'node:crypto';
import type { FinishReason } from '../generate/index.js';
import type { Asked } from './requests.js';

/* Answers as OpenAI's API has them. */

/** A token of an answer, with log softmax(logits / temperature) of it. */
export interface Token {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
}

/** What one more token adds to a choice. */
export interface Delta {
  readonly reasoning: string;
  readonly content: string;
  readonly tokens: readonly Token[];
  /** Characters of the tokens before these. */
  readonly from: number;
  /** Nothing was said of the choice before. */
  readonly first: boolean;
  readonly finish?: FinishReason | undefined;
}

/** What is said of a choice. */
export interface Said {
  readonly index: number;
  /** Undefined where thoughts are not told apart. */
  readonly reasoning: string | undefined;
  readonly content: string;
  readonly tokens: readonly Token[];
  readonly finish: FinishReason | undefined;
}

/** Tokens of a request. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** Puts choices into what surrounds them: the same id for all pieces of an answer. */
export function framed({ kind, stream, usage }: Asked, model: string) {
  const id = `${kind === 'chat' ? 'chatcmpl' : 'cmpl'}-${randomUUID().replaceAll('-', '')}`;
  const object = kind === 'text' ? 'text_completion' : stream ? 'chat.completion.chunk' : 'chat.completion';
  const created = Math.floor(Date.now() / 1000);
  return (choices: readonly object[] = []) => ({
    id,
    object,
    created,
    model,
    choices,
    ...(stream && usage && { usage: null }),
  });
}

/** The pieces of a stream that one more token makes. */
export function chunksOf({ kind, logprobs }: Asked, index: number, delta: Delta): object[][] {
  const { content, reasoning, tokens, from, first, finish } = delta;
  const silent = content === '' && reasoning === '' && tokens.length === 0;
  if (kind === 'text') {
    if (silent && !finish) return [];
    return [
      [
        {
          index,
          text: content,
          logprobs: logprobs ? textLogprobs(tokens, from) : null,
          finish_reason: reasonOf(finish),
        },
      ],
    ];
  }
  const said = { ...(reasoning && { reasoning_content: reasoning }), ...((content || !reasoning) && { content }) };
  const role = first && { role: 'assistant' };
  const chunk = (d: object, reason: string | null) => [
    { index, delta: d, logprobs: logprobs ? { content: tokens, refusal: null } : null, finish_reason: reason },
  ];
  return [
    ...(silent && !first ? [] : [chunk({ ...role, ...said }, null)]),
    ...(finish ? [[{ index, delta: {}, logprobs: null, finish_reason: reasonOf(finish) }]] : []),
  ];
}

/** A choice when it is whole. */
export function wholeOf({ kind, logprobs }: Asked, { index, content, reasoning, tokens, finish }: Said): object {
  const finish_reason = reasonOf(finish);
  if (kind === 'text')
    return { index, text: content, logprobs: logprobs ? textLogprobs(tokens, 0) : null, finish_reason };
  const said = {
    role: 'assistant',
    content,
    refusal: null,
    ...(reasoning !== undefined && { reasoning_content: reasoning }),
  };
  return { index, message: said, logprobs: logprobs ? { content: tokens, refusal: null } : null, finish_reason };
}

function textLogprobs(tokens: readonly Token[], from: number): object {
  let at = from;
  const offsets = tokens.map(({ token }) => {
    at += token.length;
    return at - token.length;
  });
  return {
    tokens: tokens.map(({ token }) => token),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: null,
    text_offset: offsets,
  };
}

const reasonOf = (finish: FinishReason | undefined): 'stop' | 'length' | null =>
  finish === undefined ? null : finish === 'length' ? 'length' : 'stop';
