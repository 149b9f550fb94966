import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtAddon, installPackage, root } from './installed.js';

/** The programs of the README, as somebody runs them who has installed the package; only their sizes are cut down. */

const readme = readFileSync(join(root, 'README.md'), 'utf8');
const blocks = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code!);

const SMALLER: readonly (readonly [string, string])[] = [
  ['vocabSize: 8192', 'vocabSize: 320'],
  ["preset: 'nano'", "preset: 'micro'"],
  ['steps: 2000,', 'steps: 3, rows: 2, length: 64,'],
  ['lora: { rank: 8 }', 'lora: { rank: 2 }, length: 128, rows: 2, epochs: 1'],
  ['steps: 200,', 'steps: 1, prompts: 2, group: 2, maxTokens: 4, evaluateQuestions: 2, graderWorkers: 1,'],
  ['maxTokens: 100', 'maxTokens: 4'],
  ['maxTokens: 50', 'maxTokens: 4'],
];

describe.skipIf(!builtAddon)('the programs of the README', () => {
  let folder: string;
  beforeAll(() => {
    folder = installPackage('readme-programs');
    const text = Array.from({ length: 400 }, (_, i) => `Once upon a time there was the number ${i}. `).join('\n\n');
    mkdirSync(join(folder, 'my-texts'));
    writeFileSync(join(folder, 'my-texts', 'a.txt'), text);
    writeFileSync(join(folder, 'dump.jsonl.gz'), gzipSync(JSON.stringify({ text: text.toUpperCase() })));
    const chat = (i: number) => [
      { role: 'user', content: `What is ${i}?` },
      { role: 'assistant', content: `A number, ${i}.` },
    ];
    const chats = Array.from({ length: 20 }, (_, i) => JSON.stringify({ messages: chat(i) }));
    writeFileSync(join(folder, 'chats.jsonl'), chats.join('\n'));
  }, 120_000);

  afterAll(() => rmSync(folder, { recursive: true }));

  it('run one after the other, and end', () => {
    const program = blocks.filter((code) => code.includes("from 'train-moe'")).join('\n');
    const small = SMALLER.reduce((code, [long, short]) => {
      expect(code, 'a size that is cut down').toContain(long);
      return code.replace(long, short);
    }, program);
    writeFileSync(join(folder, 'program.ts'), small);
    const options = [
      '--target',
      'es2022',
      '--module',
      'nodenext',
      '--types',
      'node',
      '--skipLibCheck',
      '--ignoreConfig',
    ];
    spawnSync(join(root, 'node_modules', '.bin', 'tsc'), ['program.ts', ...options], { cwd: folder });
    const ran = spawnSync(process.execPath, ['program.js'], { cwd: folder, encoding: 'utf8', timeout: 240_000 });
    expect(ran).toMatchObject({ status: 0, stderr: '' });
    for (const path of [
      'tokenizer.json',
      'mine/model.safetensors',
      'runs/chat/checkpoints/latest/adapter/adapter_config.json',
    ])
      expect(readFileSync(join(folder, path)).length).toBeGreaterThan(0);
    const losses = ran.stdout.trim().split('\n').slice(-4).map(Number); // of the last program, every 50 steps
    expect(losses[3]).toBeLessThan(losses[0]! / 2);
  }, 300_000);

  it('show an op as it is in its file', () => {
    const shown = blocks.filter((code) => !code.includes("from 'train-moe'"));
    expect(shown).toHaveLength(1);
    expect(readFileSync(join(root, 'src', 'ops', 'rmsnorm.ts'), 'utf8')).toContain(shown[0]);
  });
});
