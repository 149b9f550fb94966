import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { type ReadOptions, readConversations } from '../../../src/data/index.js';
import type { Conversation } from '../../../src/tokenizer/index.js';
import { sharedPath } from '../../shared.js';
import { parquetFile } from '../parquet_writer.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-conversations-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function read(name: string, content: string | Buffer, options?: ReadOptions): Promise<Conversation[]> {
  const file = join(folder, name);
  writeFileSync(file, content);
  return all(file, options);
}

async function all(file: string, options?: ReadOptions): Promise<Conversation[]> {
  const found: Conversation[] = [];
  for await (const conversation of readConversations(file, options)) found.push(conversation);
  return found;
}

/** "role: content" lines of each conversation. */
const said = (conversations: readonly Conversation[]) =>
  conversations.map(({ messages }) => messages.map(({ role, content }) => `${role}: ${content}`));

describe('formats of conversations', () => {
  const good: readonly [string, object, readonly string[]][] = [
    [
      'messages',
      {
        messages: [
          { role: 'developer', content: 'S' },
          { role: 'user', content: 'Q' },
          { role: 'assistant', content: 'A' },
        ],
      },
      ['system: S', 'user: Q', 'assistant: A'],
    ],
    [
      'messages in parts, with a turn after the last answer',
      {
        messages: [
          {
            role: 'user',
            content: [
              { type: 'text', text: 'Q' },
              { type: 'text', text: '1' },
            ],
          },
          { role: 'assistant', content: 'A' },
          { role: 'user', content: 'bye' },
        ],
      },
      ['user: Q1', 'assistant: A'],
    ],
    ['prompt and completion', { prompt: '2+2=', completion: '4' }, ['user: 2+2=', 'assistant: 4']],
    [
      'prompt and completion as messages',
      { prompt: [{ role: 'user', content: 'Q' }], completion: [{ role: 'assistant', content: 'A' }] },
      ['user: Q', 'assistant: A'],
    ],
    [
      'ShareGPT',
      {
        system: 'S',
        conversations: [
          { from: 'human', value: 'Q' },
          { from: 'gpt', value: 'A' },
        ],
      },
      ['system: S', 'user: Q', 'assistant: A'],
    ],
    ['Alpaca', { instruction: 'Add', input: '1 1', output: '2' }, ['user: Add\n\n1 1', 'assistant: 2']],
    ['Alpaca without input', { instruction: 'Say hi', input: '', output: 'hi' }, ['user: Say hi', 'assistant: hi']],
  ];
  it.each(good)('reads %s', async (_, record, expected) => {
    expect(said(await read('good.jsonl', JSON.stringify(record)))).toEqual([expected]);
  });

  it('reads every instance of a self-instruct record', async () => {
    const record = {
      instruction: 'Add',
      instances: [
        { input: '1 1', output: '2' },
        { input: '', output: '0' },
      ],
    };
    expect(said(await read('many.jsonl', JSON.stringify(record)))).toEqual([
      ['user: Add\n\n1 1', 'assistant: 2'],
      ['user: Add', 'assistant: 0'],
    ]);
  });

  it('keeps what only templates understand, weights, tools and places', async () => {
    const record = {
      messages: [
        { role: 'user', content: 'Q' },
        { role: 'assistant', content: null, tool_calls: [{ id: 1 }] },
        { role: 'tool', content: '7', name: 'f' },
        { role: 'assistant', content: 'A', weight: 0 },
      ],
      tools: [{ name: 'f' }],
    };
    const [conversation] = await read('extra.jsonl', `\n${JSON.stringify(record)}\n`);
    expect(conversation).toEqual({
      messages: [
        { role: 'user', content: 'Q' },
        { role: 'assistant', content: '', extra: { tool_calls: [{ id: 1 }] } },
        { role: 'tool', content: '7', extra: { name: 'f' } },
        { role: 'assistant', content: 'A', train: false },
      ],
      tools: [{ name: 'f' }],
      place: `${join(folder, 'extra.jsonl')}:2`,
    });
  });

  it('continues plain prompts, or asks them as a user', async () => {
    const line = JSON.stringify({ prompt: 'P', completion: 'C' });
    expect((await read('plain.jsonl', line))[0]!.plain).toBe(true);
    expect((await read('plain.jsonl', line, { promptAs: 'user' }))[0]!.plain).toBeUndefined();
  });

  it('reads lists, compressed files and Parquet', async () => {
    const records = ['1', '2', '3'].map((n) => ({ instruction: n, output: `o${n}` }));
    const expected = records.map(({ instruction, output }) => [`user: ${instruction}`, `assistant: ${output}`]);
    const lines = records.map((r) => JSON.stringify(r)).join('\r\n');
    expect(said(await read('list.json', JSON.stringify(records)))).toEqual(expected);
    expect(said(await read('lines.jsonl.gz', gzipSync(lines)))).toEqual(expected);
    const columns = { instruction: records.map((r) => r.instruction), output: records.map((r) => r.output) };
    const parquet = await read('rows.parquet', parquetFile(columns, { rowGroupRows: 2 }));
    expect(said(parquet)).toEqual(expected);
    expect(parquet[2]!.place).toMatch(/rows\.parquet row 2$/);
  });
});

describe('records that are wrong', () => {
  const bad: readonly [string, string, RegExp][] = [
    ['no JSON', '{"messages": [', /bad\.jsonl:2: this is not JSON/],
    ['no object', '[1]', /bad\.jsonl:2: expected a JSON object, found an array/],
    ['other fields than the first record', '{"text": "x"}', /:2: the file began as messages .* has the fields text/],
    ['messages are no list', '{"messages": "x"}', /:2: messages is a string, expected a list of messages/],
    ['no messages', '{"messages": []}', /:2: messages is empty/],
    ['a message is no object', '{"messages": [1]}', /:2: messages\[0\] is a number, expected an object/],
    [
      'an unknown role',
      '{"messages": [{"role": "bot", "content": "x"}]}',
      /messages\[0\]\.role is "bot"; known are system/,
    ],
    ['no role', '{"messages": [{"content": "x"}]}', /messages\[0\]\.role is missing/],
    ['no content', '{"messages": [{"role": "user"}]}', /messages\[0\]\.content is missing, expected a string/],
    ['content of another kind', '{"messages": [{"role": "user", "content": 3}]}', /\.content is a number/],
    ['a picture', '{"messages": [{"role": "user", "content": [{"type": "image"}]}]}', /content\[0\] is no text part/],
    ['no answer', '{"messages": [{"role": "user", "content": "x"}]}', /:2: the assistant says nothing/],
    ['an empty answer', '{"messages": [{"role": "assistant", "content": ""}]}', /the assistant says nothing/],
  ];
  const first = JSON.stringify({ messages: [{ role: 'assistant', content: 'A' }] });
  it.each(bad)('are named with file and line: %s', async (_, line, reason) => {
    await expect(read('bad.jsonl', `${first}\n${line}\n`)).rejects.toThrow(reason);
  });

  it('are named in other formats as well', async () => {
    const cases: [object, RegExp][] = [
      [{ conversations: [{ from: 'martian', value: 'x' }] }, /conversations\[0\]\.from is "martian"/],
      [{ conversations: [{ from: 'gpt' }] }, /conversations\[0\]\.value is missing/],
      [{ instruction: 'x', output: 3 }, /output is a number, expected a string/],
      [{ instruction: 'x', instances: {} }, /instances is an object, expected a list/],
      [{ prompt: 'x', completion: [1] }, /completion is an array, expected a string like the prompt/],
      [{ text: 'x' }, /no format of conversations has the fields text.*messages .*alpaca/],
    ];
    for (const [record, reason] of cases)
      await expect(read('other.jsonl', JSON.stringify(record))).rejects.toThrow(reason);
    await expect(all(join(folder, 'none.jsonl'))).rejects.toThrow(/none\.jsonl does not exist/);
    for (const name of ['plain', 'folder.json', 'folder.parquet', 'folder.jsonl.gz']) {
      const path = join(folder, name);
      mkdirSync(path);
      await expect(all(path)).rejects.toMatchObject({
        code: 'bad-argument',
        message: `${path} is a folder; give a data file in it (.jsonl, .json or .parquet).`,
      });
    }
    await expect(read('map.json', '{}')).rejects.toThrow(/expected a list of objects, found an object/);
  });
});

describe('real data', () => {
  const files: readonly [name: string, conversations: number, answers: number][] = [
    ['self-instruct-seed', 175, 175],
    ['self-instruct-user-oriented', 252, 252],
    ['sgd-dialogues', 2921, 24861],
  ];
  for (const [name, conversations, answers] of files) {
    const path = sharedPath(`data/sft/${name}.jsonl`);
    it.skipIf(!path)(`${name} is read to its end (needs ../shared)`, async () => {
      const found = await all(path!);
      const spoken = found.map(({ messages }) => messages.filter(({ role }) => role === 'assistant').length);
      expect([found.length, spoken.reduce((a, b) => a + b, 0)]).toEqual([conversations, answers]);
      expect(found.every(({ messages }) => messages.at(-1)!.role === 'assistant')).toBe(true);
    });
  }
});
