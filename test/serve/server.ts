import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resolveServe, type ServedModel, type ServeEvent, type ServeInput, serve } from '../../src/serve/index.js';
import { writeTinyModel } from '../rl/tiny.js';

/** A server of a tiny model on a free port, and what it told. */
export interface TestServer {
  readonly server: ServedModel;
  readonly events: ServeEvent[];
  /** Sends JSON, or what `init` says, and reads the answer. */
  ask(path: string, body?: unknown, init?: RequestInit): Promise<{ status: number; body: Answer; headers: Headers }>;
  /** The events of a stream, parsed; the last one is '[DONE]'. */
  stream(path: string, body: object): Promise<(Answer | '[DONE]')[]>;
  close(): Promise<void>;
}

/** What answers have that tests look at. */
// biome-ignore lint/suspicious/noExplicitAny: the JSON of an API
export type Answer = any;

export async function startServer(settings: Partial<ServeInput> = {}): Promise<TestServer> {
  const folder = mkdtempSync(join(tmpdir(), 'train-moe-serve-'));
  await writeTinyModel(folder);
  const events: ServeEvent[] = [];
  const config = resolveServe({ model: folder, name: 'tiny', device: 'cpu', port: 0, parallel: 4, ...settings });
  const server = await serve(config, (event) => events.push(event));
  const headers = { 'content-type': 'application/json' };
  const url = (path: string) => `${server.facts.url}${path}`;
  const post = (body: unknown) => ({ method: 'POST', headers, body: JSON.stringify(body) });
  return {
    server,
    events,
    async ask(path, body, init) {
      const response = await fetch(url(path), init ?? (body === undefined ? {} : post(body)));
      return { status: response.status, body: await response.json(), headers: response.headers };
    },
    async stream(path, body) {
      const response = await fetch(url(path), post({ ...body, stream: true }));
      const text = await response.text();
      return text
        .split('\n\n')
        .filter((line) => line !== '')
        .map((line) => (line === 'data: [DONE]' ? '[DONE]' : JSON.parse(line.slice('data: '.length))));
    },
    async close() {
      await server.close({ now: true });
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
