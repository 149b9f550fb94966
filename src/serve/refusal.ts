import type { z } from 'zod';
import { suggest } from '../config/suggest.js';
import { TrainMoeError } from '../errors.js';

/** What a client is told of a request that cannot be answered: OpenAI's shape of errors. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

/** A request that is refused, with the status to say so. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly details: {
      readonly param?: string;
      readonly code?: string;
      readonly headers?: Record<string, string>;
    } = {},
  ) {
    super(message);
  }

  get body(): ErrorBody {
    const { param = null, code = null } = this.details;
    const type =
      this.status >= 500 ? 'server_error' : this.status === 429 ? 'rate_limit_error' : 'invalid_request_error';
    return { error: { message: this.message, type, param, code } };
  }
}

/** A parameter that has a value it cannot have. */
export const badParameter = (param: string, message: string, code?: string): Refusal =>
  new Refusal(400, message, { param, ...(code !== undefined && { code }) });

/** Any error as a refusal; what is nobody's fault but ours is not told in detail. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (!(error instanceof TrainMoeError)) return new Refusal(500, 'The server failed; its log says why.');
  switch (error.code) {
    case 'bad-argument':
    case 'bad-config':
    case 'bad-data':
      return new Refusal(400, error.message);
    case 'not-found':
      return new Refusal(404, error.message);
    case 'busy':
      return new Refusal(429, error.message, { code: 'queue_full', headers: { 'retry-after': '1' } });
    case 'out-of-memory':
      return new Refusal(503, 'There is no memory left for this request; ask for less, or later.', {
        code: 'out_of_memory',
      });
    default:
      return new Refusal(500, 'The server failed; its log says why.');
  }
}

/** The first fault that a schema found in a request, whose parameters are `known`. */
export function schemaRefusal(error: z.ZodError, body: unknown, known: readonly string[]): Refusal {
  // A wrong name explains what is missing.
  const issue = error.issues.find(({ code }) => code === 'unrecognized_keys') ?? error.issues[0]!;
  if (issue.code === 'unrecognized_keys') {
    const [name] = issue.keys as [string];
    const param = [...issue.path.map(String), name].join('.');
    const meant = issue.path.length === 0 ? suggest(name, known) : undefined;
    const message = `There is no parameter ${param}${meant ? `; did you mean ${meant}?` : '.'}`;
    return badParameter(param, message, 'unknown_parameter');
  }
  const param = issue.path.map(String).join('.');
  const value = issue.path.reduce<unknown>((inside, key) => (inside as Record<PropertyKey, unknown>)?.[key], body);
  if (param !== '' && value === undefined)
    return badParameter(param, `The parameter ${param} is missing.`, 'missing_parameter');
  const fault = `${issue.message.charAt(0).toLowerCase()}${issue.message.slice(1)}`;
  const subject = param === '' ? 'The body' : `${param} = ${briefly(value)}`;
  return new Refusal(400, `${subject}: ${fault}.`, param === '' ? {} : { param });
}

/** Of values that hold others their kind alone: these may be large, and nested more deeply than can be written. */
const briefly = (value: unknown): string => {
  if (Array.isArray(value)) return value.length === 0 ? '[]' : '[...]';
  if (typeof value === 'object' && value !== null) return '{...}';
  const text = JSON.stringify(value) ?? 'undefined';
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
};
