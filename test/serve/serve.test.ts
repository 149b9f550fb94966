import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resolveServe, serve } from '../../src/serve/index.js';
import { device, memoryOf } from '../../src/tensor/index.js';
import { trainBpe } from '../../src/tokenizer/index.js';
import { type Answer, startServer, type TestServer } from './server.js';

let tiny: TestServer;
beforeAll(async () => {
  tiny = await startServer();
});
afterAll(() => tiny.close());

const CHAT = '/v1/chat/completions';
const TEXT = '/v1/completions';
const messages = [{ role: 'user', content: 'hello' }];
const greedy = { model: 'tiny', temperature: 0, max_tokens: 8 };
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('the server', () => {
  it('tells what it has, and that it is well', async () => {
    expect((await tiny.ask('/health')).body).toEqual({ status: 'ok', model: 'tiny', requests: 0 });
    const { body } = await tiny.ask('/v1/models');
    expect(body).toMatchObject({ object: 'list', data: [{ id: 'tiny', object: 'model', owned_by: 'train-moe' }] });
    expect((await tiny.ask('/v1/models/tiny')).body).toEqual(body.data[0]);
    expect((await tiny.ask('/v1/models/other')).status).toBe(404);
  });

  it('answers a conversation, and counts the tokens', async () => {
    const { status, body } = await tiny.ask(CHAT, { ...greedy, messages });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      id: expect.stringMatching(/^chatcmpl-\w+$/),
      object: 'chat.completion',
      model: 'tiny',
      choices: [{ index: 0, message: { role: 'assistant', content: expect.any(String) }, logprobs: null }],
      usage: { completion_tokens: 8 },
    });
    expect(body.choices[0].finish_reason).toBe('length');
    expect(body.usage.total_tokens).toBe(body.usage.prompt_tokens + 8);
  });

  it('takes null for what is left out, also in messages that another server gave', async () => {
    const said = { role: 'assistant', content: 'x', refusal: null, audio: null, function_call: null, tool_calls: [] };
    const { status } = await tiny.ask(CHAT, {
      ...{ ...greedy, stop: null, stream_options: { include_usage: null } },
      messages: [...messages, said, { role: 'user', content: 'more', name: null }],
    });
    expect(status).toBe(200);
    const { body } = await tiny.ask(CHAT, { messages: [{ role: 'user', content: null }] });
    expect(body.error.message).toBe('The parameter messages.0.content is missing.');
  });

  it('streams what it would answer at once', async () => {
    const whole = (await tiny.ask(CHAT, { ...greedy, messages, n: 2, temperature: 1, seed: 3, logprobs: true })).body;
    const pieces = await tiny.stream(CHAT, {
      ...{ ...greedy, messages, n: 2, temperature: 1, seed: 3, logprobs: true },
      stream_options: { include_usage: true },
    });
    expect(pieces.at(-1)).toBe('[DONE]');
    const chunks = pieces.slice(0, -1) as Answer[];
    expect(new Set(chunks.map(({ id, object }) => `${id} ${object}`)).size).toBe(1);
    expect(chunks.at(-1)).toMatchObject({ object: 'chat.completion.chunk', choices: [], usage: whole.usage });
    for (const index of [0, 1]) {
      const mine = chunks.flatMap(({ choices }) => choices).filter((choice) => choice.index === index);
      expect(mine[0].delta.role).toBe('assistant');
      expect(mine.map(({ delta }) => delta.content ?? '').join('')).toBe(whole.choices[index].message.content);
      expect(mine.flatMap(({ logprobs }) => logprobs?.content ?? [])).toEqual(whole.choices[index].logprobs.content);
      expect(mine.map(({ finish_reason }) => finish_reason).filter(Boolean)).toEqual(['length']);
    }
    expect(whole.choices[0].message.content).not.toBe(whole.choices[1].message.content);
  });

  it('continues texts and ids, several at once, each as alone', async () => {
    const one = async (prompt: unknown) => (await tiny.ask(TEXT, { ...greedy, prompt })).body.choices[0].text;
    const { body } = await tiny.ask(TEXT, { ...greedy, prompt: ['one', 'two'], logprobs: 0 });
    expect(body.object).toBe('text_completion');
    expect(body.choices.map(({ text }: Answer) => text)).toEqual([await one('one'), await one('two')]);
    const { tokens, token_logprobs, text_offset } = body.choices[0].logprobs;
    expect([tokens.length, token_logprobs.length, text_offset.length]).toEqual([8, 8, 8]);
    const chunks = (await tiny.stream(TEXT, { ...greedy, prompt: 'one', logprobs: 0 })).slice(0, -1) as Answer[];
    const parts = chunks.map(({ choices: [choice] }) => choice);
    expect(parts.map(({ text }) => text).join('')).toBe(body.choices[0].text);
    expect(parts.flatMap(({ logprobs }) => logprobs.text_offset)).toEqual(text_offset);
    expect(await one([...Buffer.from('one')])).toBeTypeOf('string');
  });

  it('gives each of several prompts the room that it has alone', async () => {
    const narrow = await startServer({ context: 64 });
    const ask = async (prompt: unknown) => (await narrow.ask(TEXT, { ...greedy, prompt, max_tokens: 60 })).body;
    const [long, short] = [Array.from({ length: 60 }, () => 5), [6]];
    expect((await ask([long, short])).usage.completion_tokens).toBe(4 + 60);
    await narrow.close();
  });

  it('ends at a stop text, which is not said, and stops computing', async () => {
    const whole = (await tiny.ask(TEXT, { ...greedy, prompt: 'one', max_tokens: 40 })).body.choices[0].text as string;
    const stop = whole.slice(6, 9);
    const { body } = await tiny.ask(TEXT, { ...greedy, prompt: 'one', max_tokens: 40, stop });
    expect(body.choices[0]).toMatchObject({ text: whole.slice(0, whole.indexOf(stop)), finish_reason: 'stop' });
    expect(body.usage.completion_tokens).toBeLessThan(40);
  });

  it('gives the same for the same seed, and another for another', async () => {
    const said = async (seed?: number) =>
      (await tiny.ask(TEXT, { model: 'tiny', prompt: 'one', max_tokens: 20, seed })).body.choices[0].text;
    expect(await said(5)).toBe(await said(5));
    expect(await said(5)).not.toBe(await said(6));
    expect(await said(-(2 ** 40))).toBeTypeOf('string');
    expect(await said()).not.toBe(await said());
  });

  it('ends the work of a client that leaves, whether it streams or waits', async () => {
    for (const stream of [true, false]) {
      const leave = new AbortController();
      const body = JSON.stringify({ ...greedy, prompt: 'one', max_tokens: 1900, stream });
      const headers = { 'content-type': 'application/json' };
      const asked = fetch(`${tiny.server.facts.url}${TEXT}`, { method: 'POST', headers, body, signal: leave.signal });
      const read = asked.then((response) => response.text()).catch(() => 'left');
      while (tiny.server.requests === 0) await wait(1);
      leave.abort();
      expect(await read).toBe('left');
      while (tiny.server.requests > 0) await wait(1);
    }
    await wait(5);
    const [last] = tiny.events.slice(-1) as Answer[];
    expect(last.request.status).toBe(499);
    expect(last.request.completion_tokens).toBeLessThan(1900);
  });
});

describe('a request that cannot be answered', () => {
  it.each([
    [CHAT, {}, 400, 'messages', 'The parameter messages is missing.'],
    [CHAT, { mesages: messages }, 400, 'mesages', 'There is no parameter mesages; did you mean messages?'],
    [CHAT, [], 400, null, 'The body: invalid input: expected object, received array.'],
    [CHAT, { messages, model: 'gpt-4' }, 404, 'model', 'There is no model gpt-4; this server has tiny.'],
    [CHAT, { messages, temperature: -1 }, 400, 'temperature', /^temperature = -1: too small/],
    [CHAT, { messages, max_tokens: 1e99 }, 400, 'max_tokens', /^max_tokens = 1e\+99: /],
    [CHAT, { messages, n: 5 }, 400, 'n', 'n is 5; this server generates 4 completions at once.'],
    [CHAT, { messages, tools: [{}] }, 400, 'tools', /tools are not known here; leave them out/],
    [CHAT, { messages, presence_penalty: 1 }, 400, 'presence_penalty', /is not known here; leave it out/],
    [
      CHAT,
      { messages, response_format: { type: 'json_object' } },
      400,
      'response_format.type',
      /only \{"type":"text"\}|expected/,
    ],
    [CHAT, { messages: [{ role: 'robot', content: 'x' }] }, 400, 'messages.0.role', /^messages\.0\.role = "robot": /],
    [CHAT, { messages: [{ role: 'tool', content: 'x' }] }, 400, null, /no place for the role tool/],
    [
      CHAT,
      { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] },
      400,
      'messages.0.content',
      /parts of the type text/,
    ],
    [TEXT, { prompt: [1, -5] }, 400, 'prompt.1', /^prompt\.1 = -5: too small/],
    [TEXT, { prompt: [99_999] }, 400, 'prompt', /^The prompt holds the id 99999; this model's ids are 0 to/],
    [TEXT, { prompt: 'x'.repeat(5000) }, 400, 'prompt', /^The prompt has \d+ tokens, but a request may have 2048/],
    [TEXT, { prompt: Array(261).fill('x') }, 400, 'prompt', 'There are 261 prompts; this server takes 260 at once.'],
    [TEXT, { prompt: 'x', echo: true }, 400, 'echo', /the prompt is not said again; leave it out/],
    [TEXT, { prompt: 'x', logprobs: 5 }, 400, 'logprobs', /alternatives/],
  ] as const)('%s %j', async (path, body, status, param, message) => {
    const answer = await tiny.ask(path, body);
    expect(answer.status).toBe(status);
    expect(answer.body.error).toMatchObject({ type: 'invalid_request_error', param });
    expect(answer.body.error.message).toMatch(message);
  });

  it('is told the same way when it is no request at all', async () => {
    const said = async (path: string, init: RequestInit) => {
      const { status, body } = await tiny.ask(path, undefined, init);
      return [status, body.error.message];
    };
    const json = { 'content-type': 'application/json' };
    expect(await said('/v1', {})).toEqual([404, expect.stringContaining('There is no /v1; there are GET /health, ')]);
    expect(await said(CHAT, {})).toEqual([405, `${CHAT} takes POST, not GET.`]);
    expect(await said('/v1/models/%', {})).toEqual([400, expect.stringContaining('% that does not stand')]);
    expect(await said(TEXT, { method: 'POST', body: '{}' })).toEqual([415, expect.stringContaining('"text/plain')]);
    const deep = `{"messages":${'['.repeat(1e5)}${']'.repeat(1e5)}}`;
    expect(await said(CHAT, { method: 'POST', headers: json, body: deep })).toEqual([
      400,
      expect.stringMatching(/^messages\.0 = \[\.\.\.\]: /),
    ]);
    expect(await said(TEXT, { method: 'POST', headers: json, body: '{"a' })).toEqual([
      400,
      expect.stringMatching(/^The body is no JSON: /),
    ]);
    expect(await said(TEXT, { method: 'POST', headers: json, body: ' '.repeat((16 << 20) + 1) })).toEqual([
      413,
      'The body is longer than 16777216 bytes; send less.',
    ]);
  });

  it('never ends the server, whatever it holds', async () => {
    const value = fc.oneof(fc.jsonValue(), fc.integer(), fc.double(), fc.constant('x'), fc.constant(messages));
    const names = ['messages', 'prompt', 'n', 'stop', 'seed', 'max_tokens', 'temperature', 'top_p', 'top_k', 'min_p'];
    const body = fc.dictionary(fc.constantFrom(...names, 'logprobs', 'stream', 'repetition_penalty'), value);
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(CHAT, TEXT), body, async (path, given) => {
        const short = { ...given, ...(typeof given.max_tokens === 'number' && { max_tokens: 2 }) };
        const response = await fetch(`${tiny.server.facts.url}${path}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ max_tokens: 2, ...short }),
        });
        const text = await response.text();
        if (response.status !== 200) expect(JSON.parse(text).error.message).toBeTypeOf('string');
        expect([200, 400]).toContain(response.status);
      }),
      { numRuns: 200 },
    );
    await new Promise<void>((resolve) => {
      const socket = connect(Number(new URL(tiny.server.facts.url).port), '127.0.0.1', () =>
        socket.write('\0\0\0 no HTTP\r\n\r\n'),
      );
      socket.on('close', () => resolve()).on('error', () => resolve());
      socket.resume();
    });
    expect((await tiny.ask('/health')).status).toBe(200);
    expect(tiny.events.filter(({ kind }) => kind === 'failed')).toEqual([]);
  });
});

describe('a server', () => {
  it('of a key answers those who bring it', async () => {
    const locked = await startServer({ apiKey: 'open sesame' });
    const status = async (authorization?: string) =>
      (await locked.ask('/v1/models', undefined, authorization ? { headers: { authorization } } : {})).status;
    expect(await status('Bearer open sesame')).toBe(200);
    expect([await status(), await status('Bearer open'), await status('open sesame')]).toEqual([401, 401, 401]);
    expect((await locked.ask('/health')).status).toBe(200);
    await locked.close();
  });

  it('tells those to come later who find it full', async () => {
    const full = await startServer({ parallel: 1, queue: 0 });
    const first = full.ask(TEXT, { ...greedy, prompt: 'one', max_tokens: 1500 });
    while (full.server.requests === 0) await wait(1);
    const { status, headers, body } = await full.ask(TEXT, { ...greedy, prompt: 'two' });
    expect([status, headers.get('retry-after'), body.error.code]).toEqual([429, '1', 'queue_full']);
    expect((await first).status).toBe(200);
    await full.close();
  });

  it('gives thoughts apart', async () => {
    const template =
      '{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}<think>{% endif %}';
    const thinking = await startServer({ reasoning: true, template });
    const { message } = (await thinking.ask(CHAT, { ...greedy, messages })).body.choices[0];
    expect(message.content).toBe(''); // a model of noise does not end its thoughts
    expect(message.reasoning_content.length).toBeGreaterThan(0);
    const pieces = (await thinking.stream(CHAT, { ...greedy, messages })).slice(0, -1) as Answer[];
    const said = pieces.map(({ choices: [{ delta }] }) => delta.reasoning_content ?? '').join('');
    expect(said).toBe(message.reasoning_content);
    await thinking.close();
  });

  it('lets what runs end before it closes, takes nothing new, and gives its memory back', async () => {
    const before = memoryOf(device('cpu')).tensors;
    const closing = await startServer();
    const running = closing.ask(TEXT, { ...greedy, prompt: 'one', max_tokens: 600 });
    while (closing.server.requests === 0) await wait(1);
    const closed = closing.server.close();
    expect((await running).body.usage.completion_tokens).toBe(600);
    await closed;
    await expect(closing.ask('/health')).rejects.toThrow();
    expect(memoryOf(device('cpu')).tensors).toBe(before);
  });

  it('refuses a port that is taken, and a cache that no request fits', async () => {
    const port = Number(new URL(tiny.server.facts.url).port);
    await expect(startServer({ port })).rejects.toThrow(`Port ${port} of 127.0.0.1 is taken`);
    await expect(startServer({ cacheTokens: 100 })).rejects.toThrow(/^cacheTokens is 100, less than the 2048 tokens/);
    const larger = mkdtempSync(join(tmpdir(), 'train-moe-larger-'));
    const specialTokens = Array.from({ length: 1000 }, (_, i) => `<|${i}|>`);
    const texts = async function* () {
      yield 'one';
    };
    (await trainBpe(texts(), { vocabSize: 1256, specialTokens })).save(larger);
    await expect(startServer({ tokenizer: larger })).rejects.toThrow(
      /has 1256 tokens, but the model .* only \d+; give/,
    );
    rmSync(larger, { recursive: true });
    expect(() => resolveServe({ model: 'm', port: 99_999 })).toThrow(
      /The settings of the server have a fault: port = 99999/,
    );
    await expect(serve(resolveServe({ model: '/nowhere', device: 'cpu' }))).rejects.toMatchObject({
      code: 'not-found',
    });
  });
});
