import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { type Ended, type HttpServer, httpServer, type Request } from '../../src/serve/http.js';

const opened: HttpServer[] = [];
afterEach(async () => {
  for (const server of opened.splice(0)) await server.close(true);
});

/** A server of one route, GET /, and one that reads a body, POST /. */
async function serverOf(handle: (request: Request) => Promise<void>, apiKey?: string) {
  const ended: Ended[] = [];
  const errors: unknown[] = [];
  const health = { method: 'GET', path: '/health', handle: async (request: Request) => request.send({}) } as const;
  const http = httpServer(
    [
      { method: 'GET', path: '/', handle },
      {
        method: 'POST',
        path: '/',
        async handle(request) {
          request.send({ had: await request.json() });
        },
      },
      health,
    ],
    { apiKey, onEnd: (one) => ended.push(one), onError: (error) => errors.push(error) },
  );
  opened.push(http);
  http.server.listen(0, '127.0.0.1');
  await once(http.server, 'listening');
  const { port } = http.server.address() as AddressInfo;
  return { http, ended, errors, port, url: `http://127.0.0.1:${port}` };
}

describe('the HTTP server', () => {
  it('does not wait for connections that ask nothing, or not all, when it closes', async () => {
    const { http, port, ended } = await serverOf(async () => {});
    const silent = connect(port, '127.0.0.1');
    const half = connect(port, '127.0.0.1');
    const left = [silent, half].map((socket) => once(socket.resume(), 'close'));
    await Promise.all([once(silent, 'connect'), once(half, 'connect')]);
    half.write('POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"a');
    await once(http.server, 'request');
    await http.close(false);
    await Promise.all(left);
    expect(ended.map(({ status }) => status)).toEqual([499]);
  });

  it('lets an answer end before it closes, and does not keep its connection', async () => {
    let go = () => {};
    const { http, url } = await serverOf(async (request) => {
      const events = request.events();
      await events.write({ part: 1 });
      await new Promise<void>((resolve) => {
        go = resolve;
      });
      await events.write('[DONE]');
      events.end();
    });
    http.server.keepAliveTimeout = 0; // a connection that is kept is kept for ever
    const response = await fetch(url);
    const closed = http.close(false);
    go();
    expect(await response.text()).toBe('data: {"part":1}\n\ndata: [DONE]\n\n');
    await closed;
  });

  it('closes at once, also where it waits already', async () => {
    const { http, url, ended } = await serverOf(async (request) => {
      await request.events().write({ part: 1 });
    });
    await fetch(url);
    const waits = http.close(false);
    await http.close(true);
    await Promise.all([waits, http.close(false)]);
    while (ended.length === 0) await turn();
    expect(ended.map(({ status }) => status)).toEqual([499]);
  });

  it('waits for a slow client once, however many write', async () => {
    const warnings: Error[] = [];
    const warned = (warning: Error) => void warnings.push(warning);
    process.on('warning', warned);
    const part = 'x'.repeat(1 << 16);
    const { port } = await serverOf(async (request) => {
      const events = request.events();
      const writer = async () => {
        for (let i = 0; i < 20; i++) await events.write({ part });
      };
      await Promise.all(Array.from({ length: 20 }, writer));
      events.end();
    });
    const client = connect(port, '127.0.0.1');
    client.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
    let bytes = 0;
    for await (const chunk of client) {
      bytes += (chunk as Buffer).length;
      await turn();
    }
    process.off('warning', warned);
    expect(bytes).toBeGreaterThan(400 * part.length);
    expect(warnings).toEqual([]);
  });

  it('says nothing more behind an error that ended a stream', async () => {
    const { url, errors } = await serverOf(async (request) => {
      const events = request.events();
      await events.write({ part: 1 });
      const late = async () => {
        for (let turns = 0; turns < 20; turns++) await undefined; // the error is told first
        await events.write({ part: 2 });
      };
      void late();
      throw new Error('broken');
    });
    const text = await (await fetch(url)).text();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(text).toMatch(/^data: \{"part":1\}\n\ndata: \{"error":\{"message":"The server failed; its log says why\."/);
    expect(text.match(/data:/g)).toHaveLength(2);
    expect(errors).toEqual([new Error('broken')]);
  });

  it('finds its routes also in a whole address, as clients ask that take it for a proxy', async () => {
    const { url, port } = await serverOf(async (request) => request.send({}));
    const asked = get({ host: '127.0.0.1', port, path: `${url}/health?x=1`, agent: false });
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    response.resume();
    expect(response.statusCode).toBe(200);
  });

  it('tells anyone that it is well, whatever they ask with it', async () => {
    const { url } = await serverOf(async (request) => request.send({}), 'key');
    const status = async (path: string) => (await fetch(`${url}${path}`)).status;
    expect([await status('/health'), await status('/health?verbose=1'), await status('/?x=/health')]).toEqual([
      ...[200, 200, 401],
    ]);
  });
});
