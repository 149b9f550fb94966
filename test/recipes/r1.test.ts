import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { REPORT } from '../../src/recipes/rows.js';
import { r1Presets, resolveR1 } from '../../src/recipes/settings.js';
import { compileProgram, programFolder } from '../train/run/compile.js';

let folder: string;
let program: string;
let text: string;
let preferences: string;

beforeAll(() => {
  // Below the project, so that the compiled program finds node_modules and the addon; graders and workers are files of it.
  folder = programFolder('r1');
  program = compileProgram('test/recipes/r1.program.ts', folder);
  text = join(folder, 'text.txt');
  preferences = join(folder, 'preferences.jsonl');
  const pair = (i: number) => ({ prompt: `What is ${i}?`, chosen: `The answer is ${i}.`, rejected: `${i}` });
  writeFileSync(preferences, Array.from({ length: 12 }, (_, i) => `${JSON.stringify(pair(i))}\n`).join(''));
  writeFileSync(
    text,
    'The people of these states have met to speak of peace, and of the work that is before them.\n'.repeat(40),
  );
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the recipe; killed as soon as it says a line that `killAt` holds of. */
function run(out: string, killAt: (line: string) => boolean = () => false): Promise<string[]> {
  const child = spawn(process.execPath, [program, 'tiny', join(folder, out), text, preferences], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    const parts = (rest + piece).split('\n');
    rest = parts.pop()!;
    for (const line of parts) {
      lines.push(line);
      if (killAt(line)) child.kill('SIGKILL');
    }
  });
  return new Promise((resolve) => child.on('close', () => resolve(lines)));
}

const begun = (lines: readonly string[]) => lines.filter((l) => l.startsWith('begin ')).map((l) => l.slice(6));
const tableOf = (lines: readonly string[]) => {
  const last = lines.at(-1)!;
  expect(last).toMatch(/^end /);
  return JSON.parse(last.slice(4)) as { stopped: boolean; rows: { name: string; measured: object }[] };
};

describe('the recipe', () => {
  it('runs every stage once, tells of each in one table, and ends the same after a kill in each', async () => {
    const lines = await run('whole');
    const whole = tableOf(lines);
    const stages = begun(lines);
    const models = whole.rows.map(({ name }) => name);
    expect(stages).toEqual(expect.arrayContaining(['corpus', ...models, ...models.map((name) => `measure-${name}`)]));
    for (const row of whole.rows) {
      expect(row.measured).toMatchObject({ questions: 4, greedy: { judged: { format: expect.any(Number) } } });
    }
    const report = readFileSync(join(folder, 'whole', REPORT), 'utf8');
    for (const { title } of whole.rows as unknown as { title: string }[]) expect(report).toContain(title);

    const again = await run('whole');
    expect(begun(again)).toEqual([]);
    expect(tableOf(again)).toEqual(whole);

    // What it takes to go on is each stage's own, not the recipe's.
    for (const stage of stages) {
      // In the middle of a stage that has steps, else at its beginning.
      const hasSteps = lines.includes(`step in ${stage}`);
      const seen = await run('killed', (line) => line === (hasSteps ? `step in ${stage}` : `begin ${stage}`));
      expect(begun(seen)).toContain(stage); // a quick one may be over when the signal arrives
    }
    const last = await run('killed');
    expect(tableOf(last)).toEqual(whole);
  }, 900_000);
});

describe('the recipe on text and problems alone', () => {
  const plain = (out: string, ...rewards: string[]) => {
    // Short documents, of which a model learns in a few steps that texts end.
    const texts = jsonLines('texts', 400, (i) => ({ text: `${i} have met to speak of peace.` }));
    const problems = jsonLines('problems', 60, (i) => ({ prompt: `What is ${i} + 1?`, answer: `${i + 1}` }));
    return spawnSync(process.execPath, [program, 'plain', join(folder, out), texts, problems, ...rewards], {
      encoding: 'utf8',
    });
  };
  const jsonLines = (name: string, rows: number, row: (i: number) => object) => {
    const path = join(folder, `${name}.jsonl`);
    writeFileSync(path, Array.from({ length: rows }, (_, i) => `${JSON.stringify(row(i))}\n`).join(''));
    return path;
  };

  it('runs every stage that needs no corpus of ours, through the chat template', () => {
    const { stdout, stderr } = plain('plain', 'language', 'format');
    expect(stderr).toBe('');
    const { rows } = tableOf(stdout.trimEnd().split('\n'));
    expect(rows.map(({ name }) => name)).toEqual(['base', 'zero', 'cold', 'rl1', 'sft', 'rl2']);
    const asked = (name: string) => {
      const { measured } = rows.find((row) => row.name === name)!;
      return (measured as { shown: { prompt: string }[] }).shown[0]!.prompt;
    };
    expect(asked('zero')).toMatch(/<think>.*User: What is \d+ \+ 1\?/s);
    expect(asked('sft')).toMatch(/<｜User｜>What is \d+ \+ 1\?<｜Assistant｜>$/);
  }, 120_000);

  it('says what to do when no answer is right', () => {
    const { stderr, status } = plain('hopeless', 'number');
    expect(status).not.toBe(0);
    expect(stderr).toMatch(
      /The stage zero-answers kept none of \d+ answers of the model of zero \(.+\).*train zero for longer, start from a stronger base/,
    );
  }, 120_000);
});

describe('settings of the recipe', () => {
  it('come from the preset, and the task from the command line', () => {
    const { options, settings } = resolveR1({ seed: 3 });
    expect(options).toMatchObject({ preset: 'micro', out: 'runs/r1-micro', seed: 3 });
    expect(settings).toEqual({ ...r1Presets.micro, task: r1Presets.micro!.task });
    const gsm8k = resolveR1({
      preset: 'v2-lite',
      task: 'gsm8k',
      taskOptions: { train: 'train.jsonl' },
      data: ['web/'],
    });
    expect(gsm8k.settings.task).toMatchObject({
      task: 'gsm8k',
      taskOptions: { train: 'train.jsonl' },
      template: 'zero',
    });
  });

  it('name what is wrong', () => {
    expect(() => resolveR1({ preset: 'huge' })).toThrow(/preset "huge" of r1 does not exist; there are micro, v2-lite/);
    // @ts-expect-error what the compiler says too
    expect(() => resolveR1({ sed: 1 })).toThrow(/sed/);
    expect(() => resolveR1({ task: 'gsm8k' })).toThrow(/transcripts/);
  });
});
