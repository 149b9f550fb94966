import { createHash, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Refusal, refusalOf } from './refusal.js';

/** A request as its route sees it. */
export interface Request {
  /** The parts of the path that the route leaves open. */
  readonly rest: string;
  /** The body's JSON. @throws Refusal when it is none, or too long */
  json(): Promise<unknown>;
  /** Figures that are told of the request when it has ended. */
  tell(figures: () => object): void;
  /** Calls back when the client has left before the answer was whole. */
  onLeave(callback: () => void): void;
  /** Answers with JSON. */
  send(body: object, status?: number): void;
  /** Answers with server-sent events. A piece that is written when the client is slow waits for it. */
  events(): { write(piece: object | '[DONE]'): Promise<void>; end(): void };
}

/** `GET /v1/models/` also stands for what begins so. */
export interface Route {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  handle(request: Request): Promise<void>;
}

/** What is told of a request when it has ended. */
export interface Ended {
  readonly method: string;
  readonly path: string;
  /** 499 when the client left before the answer was whole. */
  readonly status: number;
  readonly seconds: number;
  readonly [figure: string]: unknown;
}

export interface HttpOptions {
  /** What a client must bring; undefined: nothing. */
  readonly apiKey: string | undefined;
  readonly onEnd: (ended: Ended) => void;
  /** Told what only the log may know. */
  readonly onError: (error: unknown) => void;
}

/** Longest body of a request. */
const MOST_BYTES = 16 << 20;

/** A server, and how it ends. */
export interface HttpServer {
  readonly server: Server;
  /**
   * Takes no more, and resolves when what is being answered has been; with `now`, at once, also behind a call without. Connections
   * that ask nothing, or have not asked all yet, are not waited for.
   */
  close(now: boolean): Promise<void>;
}

/** A server of these routes. Errors of every kind have one shape, and none ends it. */
export function httpServer(routes: readonly Route[], options: HttpOptions): HttpServer {
  const answering = new Set<ServerResponse>(); // the requests that have come whole
  let closed: Promise<unknown> | undefined;
  const closeIdle = () => {
    if (closed && answering.size === 0) server.closeAllConnections();
  };
  const server = createServer((incoming, response) => {
    const start = performance.now();
    const { method = '', url = '' } = incoming;
    const path = url.replace(/^https?:\/\/[^/?]*/i, '').split('?')[0]!; // proxies are sent the whole address
    let figures = () => ({});
    response.on('close', () => {
      const status = response.writableFinished ? response.statusCode : 499;
      options.onEnd({ method, path, status, seconds: (performance.now() - start) / 1000, ...figures() });
      answering.delete(response);
      closeIdle();
    });
    if (closed) response.shouldKeepAlive = false;
    const whole = () => void (response.destroyed || answering.add(response));
    const work = async () => {
      refuseStranger(incoming, path, options.apiKey);
      const { route, rest } = routeOf(routes, method, path);
      await route.handle({
        ...requestOf(incoming, response, rest, whole),
        tell(of) {
          figures = of;
        },
      });
    };
    work().catch((error) => {
      if (response.destroyed) return; // the client has left
      const refusal = refusalOf(error);
      if (refusal.status >= 500) options.onError(error);
      whole();
      refuse(response, refusal);
    });
  });
  return {
    server,
    async close(now) {
      if (!closed) {
        closed = once(server, 'close');
        server.close();
      }
      if (now) server.closeAllConnections();
      else closeIdle();
      await closed;
    },
  };
}

function routeOf(routes: readonly Route[], method: string, path: string): { route: Route; rest: string } {
  const fits = routes.filter((route) => (route.path.endsWith('/') ? path.startsWith(route.path) : path === route.path));
  const route = fits.find((one) => one.method === method);
  if (route) return { route, rest: decoded(path.slice(route.path.length)) };
  if (fits.length === 0)
    throw new Refusal(
      404,
      `There is no ${path}; there are ${routes.map((one) => `${one.method} ${one.path}`).join(', ')}.`,
    );
  const allow = fits.map((one) => one.method).join(', ');
  throw new Refusal(405, `${path} takes ${allow}, not ${method}.`, { headers: { allow } });
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Refusal(400, 'The path holds a % that does not stand for a character.');
  }
}

function refuseStranger({ headers }: IncomingMessage, path: string, key: string | undefined): void {
  if (key === undefined || path === '/health') return;
  const given = /^Bearer +(.+)$/i.exec(headers.authorization ?? '')?.[1] ?? '';
  const hash = (text: string) => createHash('sha256').update(text).digest();
  if (timingSafeEqual(hash(given), hash(key))) return;
  const said = given === '' ? 'The request brings no API key' : 'The API key is not the one of this server';
  throw new Refusal(401, `${said}; send it as "Authorization: Bearer KEY".`, {
    code: 'invalid_api_key',
    headers: { 'www-authenticate': 'Bearer' },
  });
}

/** @param whole told when all has come that the answer needs */
function requestOf(
  incoming: IncomingMessage,
  response: ServerResponse,
  rest: string,
  whole: () => void,
): Omit<Request, 'tell'> {
  return {
    rest,
    async json() {
      const body = await readJson(incoming);
      whole();
      return body;
    },
    onLeave(callback) {
      if (response.destroyed) return callback();
      response.on('close', () => {
        if (!response.writableFinished) callback();
      });
    },
    send(body, status = 200) {
      whole();
      send(response, status, body);
    },
    events() {
      whole();
      response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' });
      const drained = drainOf(response);
      return {
        async write(piece) {
          const text = typeof piece === 'string' ? piece : JSON.stringify(piece);
          if (response.destroyed || response.writableEnded || response.write(`data: ${text}\n\n`)) return;
          await drained();
        },
        end() {
          if (!response.destroyed) response.end();
        },
      };
    },
  };
}

/** Waits until a slow client has taken what was written, or has left: all who wait share two listeners. */
function drainOf(response: ServerResponse): () => Promise<void> {
  let waiting: Promise<void> | undefined;
  return () => {
    waiting ??= new Promise((resolve) => {
      const go = () => {
        response.off('drain', go).off('close', go);
        waiting = undefined;
        resolve();
      };
      response.on('drain', go).on('close', go);
    });
    return waiting;
  };
}

async function readJson(incoming: IncomingMessage): Promise<unknown> {
  const type = incoming.headers['content-type'] ?? '';
  if (!/^application\/([\w.+-]*\+)?json\b/i.test(type))
    throw new Refusal(415, `The body is ${type === '' ? 'of no type' : `"${type}"`}; send application/json.`);
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of incoming as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > MOST_BYTES) throw new Refusal(413, `The body is longer than ${MOST_BYTES} bytes; send less.`);
    parts.push(part);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString('utf8'));
  } catch (error) {
    throw new Refusal(400, `The body is no JSON: ${(error as Error).message}.`);
  }
}

function send(
  response: ServerResponse,
  status: number,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (response.destroyed) return; // nobody listens any more
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(status, {
    ...headers,
    'content-type': 'application/json; charset=utf-8',
    'content-length': bytes.length,
  });
  response.end(bytes);
}

/** Also in the middle of a stream, whose status is out already: then as its last event. */
function refuse(response: ServerResponse, refusal: Refusal): void {
  if (response.headersSent) {
    if (!response.destroyed) response.end(`data: ${JSON.stringify(refusal.body)}\n\n`);
    return;
  }
  const close = refusal.status === 413 && { connection: 'close' }; // the rest of the body is not read
  send(response, refusal.status, refusal.body, { ...refusal.details.headers, ...close });
}
