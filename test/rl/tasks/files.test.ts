import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { code, countdown, math, number } from '../../../src/rl/rewards/index.js';
import { createTask, gsm8k, humaneval, jsonl } from '../../../src/rl/tasks/index.js';
import { sharedPath } from '../../shared.js';

const folder = mkdtempSync(path.join(tmpdir(), 'train-moe-tasks-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, content: string): string => {
  const place = path.join(folder, name);
  writeFileSync(place, content);
  return place;
};
const lines = (...rows: object[]): string => rows.map((row) => JSON.stringify(row)).join('\n');
const rowsOf = (place: string): Record<string, string>[] =>
  readFileSync(place, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('jsonl', () => {
  const many = file('many.jsonl', lines(...Array.from({ length: 400 }, (_, i) => ({ prompt: `p${i}`, answer: i }))));

  test('an epoch has every training problem once, the next in another order', () => {
    const task = jsonl({ train: many, testShare: 0.25 });
    const size = 400 - task.testSize;
    expect(task.testSize).toBeGreaterThan(60);
    expect(task.testSize).toBeLessThan(140);
    const epoch = (n: number) => Array.from({ length: size }, (_, i) => task.train(n * size + i, 7).prompt);
    const held = Array.from({ length: task.testSize }, (_, i) => task.test(i).prompt);
    expect(new Set(epoch(0)).size).toBe(size);
    expect([...epoch(0)].sort()).toEqual([...epoch(1)].sort());
    expect(epoch(0)).not.toEqual(epoch(1));
    expect(new Set([...epoch(0), ...held]).size).toBe(400);
  });

  test('takes other fields, and the answer behind the mark', () => {
    const train = file('fields.jsonl', lines({ q: 'a', a: 'words\n#### 5' }));
    const test = file('held.jsonl', lines({ q: 'b', a: '6' }));
    const task = jsonl({ train, test, prompt: 'q', answer: 'a' });
    expect(task.train(3, 1)).toEqual({ prompt: 'a', answer: '5', rewards: ['math', 'format'] });
    expect(task.test(0).answer).toBe('6');
    expect(() => task.test(1)).toThrow(/1 held-out problems/);
  });

  test('leaves held-out prompts out of training', () => {
    const both = file('both.jsonl', lines({ prompt: 'a', answer: 1 }, { prompt: 'b', answer: 2 }));
    const test = file('b.jsonl', lines({ prompt: ' b ', answer: 2 }));
    const task = jsonl({ train: both, test });
    expect([0, 1, 2].map((i) => task.train(i, 0).prompt)).toEqual(['a', 'a', 'a']);
    expect(() => jsonl({ train: test, test: both })).toThrow(/no problems to train on/);
  });

  test.each([
    ['not JSON', '{"prompt": "a", "answer": "1"}\n{', /bad\.jsonl:2: the line is not JSON/],
    ['no object', '[1]', /bad\.jsonl:1: the line is no JSON object/],
    ['no field', '{"prompt": "a"}', /bad\.jsonl:1: the field "answer" is missing; the line has prompt/],
    [
      'an unreadable reference',
      '{"prompt": "a", "answer": "\\\\frac{1}"}',
      /bad\.jsonl:1: the reference answer cannot be read/,
    ],
    ['nothing', '\n\n', /has no rows/],
  ])('names the line with %s', (_what, content, sentence) => {
    expect(() => jsonl({ train: file('bad.jsonl', content) })).toThrow(sentence);
  });
});

describe('tasks by name', () => {
  test.each(['gsm8k', 'jsonl', 'humaneval'])('%s without a file says how to give one', async (name) => {
    await expect(createTask(name)).rejects.toThrow(
      new RegExp(`^The task ${name} needs a file of problems; give .* \\(--task-options\\)\\.$`),
    );
  });

  test('a task or a function that makes one', async () => {
    const made = file(
      'made.mjs',
      'export default ({ k }) => ({ train: (i) => ({ prompt: String(i * k), rewards: [] }), test: () => null });',
    );
    const task = await createTask(made, { k: 3 });
    expect([task.train(2, 0).prompt, task.testSize]).toEqual(['6', Number.POSITIVE_INFINITY]);
    await expect(createTask(file('none.mjs', 'export default 3'))).rejects.toThrow(/exports no task/);
    await expect(createTask('gsm9k')).rejects.toThrow(/no task "gsm9k"; the built-in ones are arith, countdown/);
    expect((await createTask('arith', { digits: 1 })).name).toBe('arith');
  });
});

const train = sharedPath('data/gsm8k/train.jsonl');
const test8k = sharedPath('data/gsm8k/test.jsonl');

describe.skipIf(!train || !test8k)('GSM8K (needs the shared data)', () => {
  test('the graders agree with every reference solution, and with no other number', async () => {
    const rewards = [number(), math()];
    for (const row of [...rowsOf(train!), ...rowsOf(test8k!)]) {
      const answer = row.answer!.slice(row.answer!.lastIndexOf('####') + 4).trim();
      for (const reward of rewards) {
        const score = (completion: string) => reward.score({ prompt: row.question!, completion, answer });
        expect([row.answer, await score(row.answer!)]).toMatchObject([row.answer, { value: 1 }]);
        const wrong = String(Number(answer.replaceAll(',', '')) + 1);
        expect([row.answer, await score(`<think>${row.answer}</think><answer>${wrong}</answer>`)]).toMatchObject([
          row.answer,
          { value: 0 },
        ]);
      }
    }
  });

  test('is a task', () => {
    const task = gsm8k({ train: train!, test: test8k! });
    expect(task.testSize).toBe(1319);
    expect(task.test(0)).toMatchObject({ answer: '18', rewards: ['number', 'format'] });
  });
});

const game24 = sharedPath('data/math/game24.jsonl');

/** An expression over all the terms that has the value, found by joining two of them at a time. */
function solve(terms: readonly (readonly [text: string, value: number])[], target: number): string | undefined {
  if (terms.length === 1) return Math.abs(terms[0]![1] - target) < 1e-9 ? terms[0]![0] : undefined;
  for (const [i, [a, x]] of terms.entries())
    for (const [j, [b, y]] of terms.entries()) {
      if (i === j) continue;
      const others = terms.filter((_, k) => k !== i && k !== j);
      const joined = [['+', x + y] as const, ['-', x - y] as const, ['*', x * y] as const, ['/', x / y] as const];
      for (const [sign, value] of joined) {
        const found = Number.isFinite(value) ? solve([[`(${a} ${sign} ${b})`, value], ...others], target) : undefined;
        if (found) return found;
      }
    }
  return undefined;
}

describe.skipIf(!game24)('Game of 24 (needs the shared data)', () => {
  test('a solution of every puzzle is right, and what is near it wrong', () => {
    const reward = countdown();
    const puzzles = readFileSync(game24!, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line): { numbers: number[]; target: number } => JSON.parse(line));
    expect(puzzles).toHaveLength(953);
    for (const meta of puzzles) {
      const { numbers, target } = meta;
      const solution = solve(
        numbers.map((n) => [String(n), n]),
        target,
      )!;
      const score = (completion: string, about = meta) => reward.score({ prompt: '', completion, meta: about });
      expect([solution, score(`<answer>${solution}</answer>`)]).toMatchObject([solution, { value: 1 }]);
      expect([solution, score(solution, { numbers, target: target + 1 })]).toMatchObject([solution, { value: 0 }]);
      expect([solution, score(`${solution} + 0`)]).toMatchObject([solution, { value: 0 }]); // a number too many
    }
  });
});

const missing = ['bwrap', 'prlimit', 'python3'].filter((tool) => spawnSync(tool, ['--version']).status !== 0);
const evaluation = sharedPath('data/humaneval/HumanEval.jsonl');
const needs = missing.length > 0 ? `skipped: ${missing.join(', ')} not found` : 'needs the shared data';

describe.skipIf(!evaluation || missing.length > 0)(`HumanEval (${needs})`, () => {
  /** Runs jobs, two at a time. */
  async function inPairs<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
    const queue = items.values();
    await Promise.all(
      [0, 1].map(async () => {
        for (const item of queue) await work(item);
      }),
    );
  }

  test('the grader agrees with every reference solution, and with none that returns nothing', {
    timeout: 300_000,
  }, async () => {
    const reward = code();
    const task = humaneval({ train: evaluation!, testShare: 0.5 });
    const solutions = new Map(
      rowsOf(evaluation!).map((row) => [row.entry_point! + row.prompt!, row.canonical_solution!]),
    );
    const trained = Array.from({ length: 164 - task.testSize }, (_, i) => task.train(i, 0));
    const held = Array.from({ length: task.testSize }, (_, i) => task.test(i));
    const problems = [...trained, ...held];
    expect(new Set(problems.map(({ prompt }) => prompt)).size).toBe(164);
    await inPairs([...problems.entries()], async ([i, { prompt, meta }]) => {
      const { entryPoint, prefix } = meta as { entryPoint: string; prefix: string };
      const solution = solutions.get(entryPoint + prefix)!;
      expect([entryPoint, await reward.score({ prompt, completion: solution, meta: meta! })]).toEqual([
        entryPoint,
        { value: 1, log: { outcome: 'passed' } },
      ]);
      if (i % 4 > 0) return; // the other two need no more than a part of them
      const chat = `Here it is:\n\`\`\`python\n${prefix}${solution}\n\`\`\``;
      expect([entryPoint, await reward.score({ prompt, completion: chat, meta: meta! })]).toMatchObject([
        entryPoint,
        { value: 1 },
      ]);
      const empty = '    return None\n';
      expect([entryPoint, await reward.score({ prompt, completion: empty, meta: meta! })]).toMatchObject([
        entryPoint,
        { value: 0 },
      ]);
    });
  });
});
