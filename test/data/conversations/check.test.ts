import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { checkLines } from '../../../src/cli/data/report.js';
import { checkConversations } from '../../../src/data/index.js';
import { openChatTemplate } from '../../../src/tokenizer/index.js';
import { sharedPath } from '../../shared.js';
import { byteTokenizer } from '../../tokenizer/chat/tokenizers.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-check-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'data.jsonl');
const good = (n: number) => JSON.stringify({ instruction: 'q'.repeat(n), output: 'yes\u001b' });
writeFileSync(file, [good(1), '{"instruction": 3, "output": "x"}', good(4), 'no json', good(20)].join('\n'));

describe('a check of data', () => {
  it('counts, passes over bad records and names the first', async () => {
    const result = await checkConversations(file);
    expect(result).toMatchObject({
      format: 'alpaca',
      conversations: 3,
      turns: { user: 3, assistant: 3 },
      bad: 2,
      firstBad: `${file}:2: instruction is a number, expected a string.`,
      unit: 'characters',
      total: 25 + 3 * 4,
      trained: 12,
      lengths: {
        median: 8,
        max: 24,
        histogram: [
          { upTo: 8, count: 2 },
          { upTo: 32, count: 1 },
        ],
      },
    });
    expect(result.samples).toHaveLength(3);
    expect(await checkConversations(file)).toEqual(result);
    expect((await checkConversations(file, { samples: 1 })).samples).toEqual(result.samples.slice(0, 1));
  });

  it('shows the mask as it will be trained, and no control characters', async () => {
    const tokenizer = await byteTokenizer({ special: ['<end>'], eos: '<end>' });
    const template = await openChatTemplate(tokenizer);
    const result = await checkConversations(file, { template, samples: 1 });
    expect(result.unit).toBe('tokens');
    expect(result.trained).toBe(3 * (' yes\u001b'.length + 1));
    const [sample] = result.samples;
    expect(sample!.pieces.at(-1)).toEqual({ text: ' yes\u001b<end>', trained: true });
    const lines = checkLines(result, template, { write: () => true });
    expect(lines.join('\n')).toMatch(/User: q+\n\nAssistant:\[\[ yes�<end>\]\]/);
    expect(lines.join('\n')).toMatch(/2 bad records were passed over; the first:\n {2}.*data\.jsonl:2/);
  });

  it('counts what a template refuses as bad', async () => {
    const tokenizer = await byteTokenizer({ special: ['<end>'], eos: '<end>' });
    const template = await openChatTemplate(tokenizer, { template: "{{ raise_exception('never') }}" });
    const result = await checkConversations(file, { template });
    expect([result.conversations, result.bad]).toEqual([0, 5]);
    expect(result.firstBad).toMatch(/data\.jsonl:1: .*never/);
  });

  for (const [name, format, conversations] of [
    ['self-instruct-seed', 'self-instruct', 175],
    ['self-instruct-user-oriented', 'self-instruct', 252],
    ['sgd-dialogues', 'messages', 2921],
  ] as const) {
    const path = sharedPath(`data/sft/${name}.jsonl`);
    it.skipIf(!path)(`finds nothing wrong with ${name} (needs ../shared)`, async () => {
      const template = await openChatTemplate(await byteTokenizer({ special: ['<end>'], eos: '<end>' }));
      const result = await checkConversations(path!, { template });
      expect(result).toMatchObject({ format, conversations, bad: 0, firstBad: undefined });
      expect(result.trained).toBeGreaterThan(0.1 * result.total);
    });
  }
});
