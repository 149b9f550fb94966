import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { conversationOf, type PreferencePair, readLabelled, readPairs } from '../../../src/data/index.js';
import { sharedPath } from '../../shared.js';
import { parquetFile } from '../parquet_writer.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-preferences-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const line = (record: object) => `${JSON.stringify(record)}\n`;
const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });
const said = (messages: PreferencePair['prompt']) => messages.map(({ role, content }) => `${role}: ${content}`);
const shape = ({ prompt, chosen, rejected, plain }: PreferencePair) => [
  said(prompt),
  said(chosen),
  said(rejected),
  plain ? 'plain' : 'chat',
];

describe('formats of pairs', () => {
  const cases: readonly [string, object, ReturnType<typeof shape>][] = [
    [
      'a prompt and two strings',
      { prompt: 'Q:', chosen: ' a', rejected: ' b' },
      [['user: Q:'], ['assistant:  a'], ['assistant:  b'], 'plain'],
    ],
    [
      'messages and two strings',
      { prompt: [user('Q')], chosen: 'a', rejected: 'b' },
      [['user: Q'], ['assistant: a'], ['assistant: b'], 'chat'],
    ],
    [
      'messages on all three',
      { prompt: [user('Q')], chosen: [assistant('a')], rejected: [assistant('b')] },
      [['user: Q'], ['assistant: a'], ['assistant: b'], 'chat'],
    ],
    [
      'a prompt that both sides repeat',
      { prompt: 'Q', chosen: [user('Q'), assistant('a')], rejected: [user('Q'), assistant('b')] },
      [['user: Q'], ['assistant: a'], ['assistant: b'], 'chat'],
    ],
    [
      'two lists of messages, equal up to the answer',
      {
        chosen: [user('1'), assistant('x'), user('2'), assistant('a')],
        rejected: [user('1'), assistant('x'), user('2'), assistant('b')],
      },
      [['user: 1', 'assistant: x', 'user: 2'], ['assistant: a'], ['assistant: b'], 'chat'],
    ],
    [
      'two plain texts: the prompt is what they share, to the last whole word',
      { chosen: 'The sky is blue', rejected: 'The sky is black' },
      [['user: The sky is'], ['assistant:  blue'], ['assistant:  black'], 'plain'],
    ],
    [
      'transcripts of two turns',
      { chosen: '\n\nHuman: Q\n\nAssistant: a', rejected: '\n\nHuman: Q\n\nAssistant: b' },
      [['user: Q'], ['assistant: a'], ['assistant: b'], 'chat'],
    ],
    [
      'transcripts that part before the last turn, one with an empty answer',
      {
        chosen: '\n\nHuman: Q\n\nAssistant: a\n\nHuman: more\n\nAssistant:',
        rejected: '\n\nHuman: Q\n\nAssistant: b\n\nHuman: so?\n\nAssistant: c\n\nand d',
      },
      [
        ['user: Q'],
        ['assistant: a', 'user: more', 'assistant: '],
        ['assistant: b', 'user: so?', 'assistant: c\n\nand d'],
        'chat',
      ],
    ],
    [
      'a transcript as prompt',
      { prompt: '\n\nHuman: Q\n\nAssistant:', chosen: 'a', rejected: 'b' },
      [['user: Q'], ['assistant: a'], ['assistant: b'], 'chat'],
    ],
    [
      'annotators who prefer the second response, two to one',
      { instruction: 'I', input: 'X', response1: 'b', response2: 'a', annotator1: 2, annotator2: 1, annotator3: 2 },
      [['user: I\n\nX'], ['assistant: a'], ['assistant: b'], 'chat'],
    ],
  ];

  it.each(cases)('%s', async (_, record, expected) => {
    const { train } = await readPairs([file('one.jsonl', line(record))], { heldOut: 0 });
    expect(train.map(shape)).toEqual([expected]);
  });

  it('keeps margins, and counts ties and equal sides', async () => {
    const votes = { instruction: 'I', input: '', response1: 'a', response2: 'b' };
    const content = [
      { prompt: 'Q', chosen: 'a', rejected: 'b', margin: 0.5 },
      { prompt: 'Q', chosen: 'a', rejected: 'a' },
      { ...votes, annotator1: 0, annotator2: 1, annotator3: 2 },
      { ...votes, annotator1: 0, annotator2: 0, annotator3: 0 },
    ];
    const { train, ties, same } = await readPairs([file('margin.jsonl', content.map(line).join(''))], { heldOut: 0 });
    expect([train.map(({ margin }) => margin), ties, same]).toEqual([[0.5], 2, 1]);
  });

  it('makes a turn of a plain prompt where that is asked for', async () => {
    const path = file('user.jsonl', line({ prompt: 'Q', chosen: 'a', rejected: 'b' }));
    const { train } = await readPairs([path], { heldOut: 0, promptAs: 'user' });
    expect(train.map(({ plain }) => plain)).toEqual([false]);
    expect(conversationOf(train[0]!, train[0]!.chosen)).not.toHaveProperty('plain');
  });

  it('reads Parquet', async () => {
    const path = file('pairs.parquet', parquetFile({ prompt: ['Q', 'R'], chosen: ['a', 'c'], rejected: ['b', 'd'] }));
    const { train } = await readPairs([path], { heldOut: 0 });
    expect(train.map((pair) => said(pair.chosen)[0])).toEqual(['assistant: a', 'assistant: c']);
  });

  it('trains the answer alone', async () => {
    const turns = (end: string) => [user('1'), assistant('x'), user('2'), assistant(end)];
    const { train } = await readPairs([file('m.jsonl', line({ chosen: turns('a'), rejected: turns('b') }))], {
      heldOut: 0,
    });
    const { messages } = conversationOf(train[0]!, train[0]!.chosen);
    expect(messages.filter((m) => m.role === 'assistant').map((m) => m.train)).toEqual([false, undefined]);
  });
});

describe('what is wrong is named with file and line', () => {
  const good = line({ prompt: 'Q', chosen: 'a', rejected: 'b' });
  const cases: readonly [string, string, RegExp][] = [
    ['no JSON', '{', /bad\.jsonl:2: this is not JSON/],
    ['a list', '[]', /bad\.jsonl:2: expected a JSON object, found an array/],
    ['other fields', '{"text": "x"}', /bad\.jsonl:2: no format of pairs has the fields text\. Known: pairs .*pandalm/],
    ['a number for an answer', '{"prompt": "Q", "chosen": 1, "rejected": "b"}', /:2: chosen is a number, expected/],
    [
      'no answer',
      '{"prompt": "Q", "chosen": null, "rejected": "b"}',
      /:2: chosen is null, expected a string or a list/,
    ],
    [
      'an unknown role',
      line({ prompt: [{ role: 'bot', content: '' }], chosen: 'a', rejected: 'b' }),
      /:2: prompt\[0\]\.role/,
    ],
    [
      'a last turn of the user',
      line({ prompt: [user('Q')], chosen: [user('a')], rejected: 'b' }),
      /:2: chosen .* user/,
    ],
    [
      'a transcript that ends with the human',
      line({ chosen: '\n\nHuman: a', rejected: '\n\nHuman: b' }),
      /:2: chosen ends in a turn of the human/,
    ],
    [
      'no common prompt',
      line({ chosen: [user('1'), assistant('a')], rejected: [user('2'), assistant('b')] }),
      /:2: chosen and rejected begin with different messages/,
    ],
    ['a margin in words', '{"prompt": "Q", "chosen": "a", "rejected": "b", "margin": "big"}', /:2: margin is a string/],
    ['a vote of 3', line({ instruction: '', response1: '', response2: '', annotator1: 3 }), /:2: annotator1 is 3/],
    ['no votes', line({ instruction: '', response1: '', response2: '' }), /:2: there is no annotator1/],
    ['a missing instruction', line({ response1: '', response2: '', annotator1: 1 }), /:2: instruction is/],
  ];

  it.each(cases)('%s', async (_, bad, message) => {
    await expect(readPairs([file('bad.jsonl', good + bad)], { heldOut: 0 })).rejects.toThrow(message);
  });

  it('nothing to train', async () => {
    await expect(readPairs([file('empty.jsonl', '')], { heldOut: 0 })).rejects.toThrow(
      /empty\.jsonl: there is no preference/,
    );
    await expect(readPairs([join(folder, 'absent.jsonl')], { heldOut: 0 })).rejects.toThrow(
      /absent\.jsonl does not exist/,
    );
  });
});

describe('labelled answers', () => {
  it('come with labels, or as the two sides of pairs', async () => {
    const content = [
      { prompt: 'Q', completion: 'a', label: true },
      { prompt: [user('Q')], completion: [assistant('b')], label: 'unsafe' },
      { prompt: 'Q', chosen: 'c', rejected: 'd' },
    ];
    const { train } = await readLabelled([file('labels.jsonl', content.map(line).join(''))], { heldOut: 0 });
    expect(train.map(({ answer, label }) => `${answer[0]!.content} ${label}`)).toEqual(['a 1', 'b 0', 'c 1', 'd 0']);
  });

  it('a label that is none', async () => {
    const path = file('label.jsonl', line({ prompt: 'Q', completion: 'a', label: 'maybe' }));
    await expect(readLabelled([path], { heldOut: 0 })).rejects.toThrow(
      /label\.jsonl:1: label is "maybe"; expected true, false/,
    );
  });
});

describe('the held-out split', () => {
  const records = Array.from({ length: 200 }, (_, i) => ({ prompt: `Q${i % 50}`, chosen: `a${i}`, rejected: `b${i}` }));
  const split = async (rows: readonly object[], share: number) => {
    const { train, test } = await readPairs([file('split.jsonl', rows.map(line).join(''))], { heldOut: share });
    const prompts = (pairs: readonly PreferencePair[]) => [...new Set(pairs.map((p) => p.prompt[0]!.content))].sort();
    return { train: prompts(train), test: prompts(test), count: train.length + test.length };
  };

  it('keeps all pairs of a prompt on one side, whatever their order and company', async () => {
    const whole = await split(records, 0.2);
    expect(whole.count).toBe(200);
    expect(whole.test.length).toBeGreaterThan(3);
    expect(whole.test.filter((prompt) => whole.train.includes(prompt))).toEqual([]);
    expect(await split(records.toReversed(), 0.2)).toEqual(whole);
    const half = await split(records.slice(0, 25), 0.2);
    expect(half.test).toEqual(whole.test.filter((prompt) => Number(prompt.slice(1)) < 25));
    const more = await split(records, 0.4);
    expect(whole.test.filter((prompt) => !more.test.includes(prompt))).toEqual([]);
  });
});

const shared = sharedPath('data/preferences');

describe.skipIf(!shared)('real preferences (needs ../shared/data/preferences)', () => {
  it('reads every dialogue of hh-harmless-base', async () => {
    const { train, test, same } = await readPairs([join(shared!, 'hh-harmless-base.jsonl')], { heldOut: 0.1 });
    expect(train.length + test.length + same).toBe(1620);
    expect(test.length).toBeGreaterThan(120);
    const all = [...train, ...test];
    // In two of them the assistant speaks twice in a row, which is one turn; then all sides differ in the last alone.
    expect(all.every(({ chosen, rejected }) => chosen.length + rejected.length === 2)).toBe(true);
    expect(all.filter((p) => [p.chosen, p.rejected].some((side) => side.at(-1)!.content === '')).length).toBe(4);
  });

  it('reads the votes of pandalm, split by prompt', async () => {
    const { train, test, ties } = await readPairs([join(shared!, 'pandalm.jsonl')], { heldOut: 0.2 });
    expect([train.length + test.length, ties]).toEqual([422 + 472, 105]);
    const prompts = (pairs: readonly PreferencePair[]) => new Set(pairs.map((p) => p.prompt[0]!.content));
    const trained = prompts(train);
    expect([...prompts(test)].filter((prompt) => trained.has(prompt))).toEqual([]);
  });
});
