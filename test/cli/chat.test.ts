import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ChatOptions, runChat } from '../../src/cli/model/chat.js';
import { remember } from '../../src/cli/model/conversation.js';
import { type OpenedModel, openModel, openTokenizer } from '../../src/cli/model/open.js';
import { disposeModel } from '../../src/models/codec.js';
import { memoryOf } from '../../src/tensor/index.js';
import { type ChatTemplate, type Message, openChatTemplate } from '../../src/tokenizer/index.js';
import { writeTinyModel } from '../rl/tiny.js';

/* A conversation: what is said, what is remembered of it, and what is told when it does not fit. */

const folder = mkdtempSync(join(tmpdir(), 'train-moe-chat-'));
const named = { model: folder, device: 'cpu', dtype: 'f32' } as const;
const JINJA = "{% for m in messages %}{{ m.role[0] + ':' + m.content + ';' }}{% endfor %}";
let template: ChatTemplate;
let opened: OpenedModel;
beforeAll(async () => {
  await writeTinyModel(folder);
  template = await openChatTemplate(openTokenizer(named), { template: JINJA });
  opened = openModel(named);
});
afterAll(() => {
  disposeModel(opened.model);
  rmSync(folder, { recursive: true, force: true });
});

/** What a conversation shows, for these lines of a user. */
async function talk(lines: readonly string[], options: ChatOptions = {}): Promise<string> {
  let shown = '';
  const output = new Writable({
    write(piece, _, done) {
      shown += piece;
      done();
    },
  });
  const input = Readable.from(lines.map((line) => `${line}\n`));
  await runChat(opened, template, { temperature: 0, maxTokens: 4, ...options }, { input, output });
  return shown;
}

const said = (role: Message['role'], content: string): Message => ({ role, content });

describe('what is remembered of a conversation', () => {
  const all = [
    said('system', 'be brief'),
    said('user', 'one'),
    said('assistant', 'two'),
    said('user', 'three'),
    said('assistant', 'four'),
    said('user', 'five'),
  ];
  const kept = (room: number) => remember(template, all, room)?.messages.map(({ content }) => content);

  it('is all of it where there is room, with the prompt of the template', () => {
    const found = remember(template, all, 1000)!;
    expect(found.messages).toEqual(all);
    expect(template.tokenizer.decode(found.prompt)).toBe('s:be brief;u:one;a:two;u:three;a:four;u:five;');
  });

  it('loses whole exchanges from its beginning, and never the instructions or what was said last', () => {
    const tokens = remember(template, all, 1000)!.prompt.length;
    expect(kept(tokens)).toHaveLength(6);
    expect(kept(tokens - 1)).toEqual(['be brief', 'three', 'four', 'five']);
    const last = remember(template, [all[0]!, all[5]!], 1000)!.prompt.length;
    expect(kept(last)).toEqual(['be brief', 'five']);
    expect(kept(last - 1)).toBeUndefined();
  });
});

describe('a conversation', () => {
  it('answers each line until an empty one, and gives its memory back', async () => {
    await talk(['one']); // tables that are made once and kept
    const before = memoryOf(opened.device).tensors;
    const shown = await talk(['one', 'two', '', 'never']);
    expect(shown.match(/> /g)).toHaveLength(3);
    expect(shown.length).toBeGreaterThan('> > > '.length + 4);
    expect(memoryOf(opened.device).tensors).toBe(before);
  });

  it('goes on when it has become longer than the context, and says what it forgot', async () => {
    const shown = await talk(['one', 'two', 'three', 'four', 'five', 'six'], { context: 40 });
    expect(shown).toMatch(/\(Forgotten, to stay within 40 tokens: the oldest 2 messages\.\)/);
    expect(shown.match(/> /g)).toHaveLength(7);
  });

  it('does not end with a line that is too long', async () => {
    const shown = await talk(['far too long '.repeat(20), 'one'], { context: 40 });
    expect(shown).toMatch(
      /^> \(This is longer than the 36 tokens that there is room for; say less, or raise --context\.\)\n> /,
    );
    expect(shown.match(/> /g)).toHaveLength(3);
  });

  it('refuses a context that is none', async () => {
    await expect(talk([], { context: 1 })).rejects.toThrow('context is 1; it must be a whole number above 1.');
  });
});
