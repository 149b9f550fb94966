import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { device, memoryOf, type RewardFunction, type tasks, trainGrpo } from '../../src/index.js';
import { writeTinyModel } from './tiny.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-own-grpo-'));
const model = join(folder, 'model');
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeAll(() => writeTinyModel(model));

const sizes = { model, device: 'cpu', prompts: 2, group: 4, maxTokens: 6, tensorboard: false } as const;
const lines = (...path: string[]) =>
  readFileSync(join(folder, ...path), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

const letters: tasks.Task = {
  name: 'letters',
  train: (index, seed) => ({ prompt: `${seed}-${index}`, answer: 'e', rewards: ['exact'] }),
  test: (index) => ({ prompt: `test ${index}`, answer: 'e', rewards: ['exact'] }),
  testSize: 3,
};

/** The share of the answer's letter. */
const share: RewardFunction = ({ completion, answer }) =>
  completion.split(answer!).length / (1 + [...completion].length);

describe('trainGrpo', () => {
  it('trains on a task and by functions of the program, and logs each under its name', async () => {
    const asked: string[] = [];
    const late: RewardFunction = async ({ prompt }) => {
      asked.push(prompt);
      return { value: 0.5, log: { seen: true } };
    };
    const end = await trainGrpo(
      { ...sizes, algorithm: 'dr-grpo', steps: 2, out: join(folder, 'own'), evaluateQuestions: 2 },
      { task: letters, rewards: { share, late } },
    );
    expect(end).toMatchObject({ step: 2, stopped: false });
    expect(end.after?.questions).toBe(2);
    expect(asked).toContain('1-0');
    expect(asked).toContain('test 1');
    const steps = lines('own', 'metrics.jsonl').filter((line) => 'reward/mean' in line);
    expect(steps).toHaveLength(2);
    for (const step of steps) {
      expect(step['reward/late/mean']).toBe(0.5);
      expect(step['reward/mean']).toBeCloseTo(step['reward/share/mean'] + 0.5, 6);
    }
  });

  it('skips a sample whose reward throws or gives no number, and goes on', async () => {
    let calls = 0;
    const moody: RewardFunction = () => {
      if (++calls % 4 === 0) throw new Error('out of coffee');
      return calls % 4 === 1 ? Number.NaN : calls;
    };
    const end = await trainGrpo(
      { ...sizes, steps: 1, out: join(folder, 'moody'), evaluateQuestions: 0 },
      { task: letters, rewards: { moody } },
    );
    expect(end.step).toBe(1);
    expect(lines('moody', 'metrics.jsonl')[0]['reward/skipped']).toBe(0.5);
  });

  it('keeps no memory of a run', async () => {
    const run = async (out: string) => {
      await trainGrpo({ ...sizes, steps: 1, out: join(folder, out) }, { task: letters, rewards: { share } });
      const { live, tensors } = memoryOf(device('cpu'));
      return { live, tensors };
    };
    const once = await run('once'); // with the tables of positions, which stay for the next one
    expect(await run('twice')).toEqual(once);
  });

  it('names settings that do not fit before anything is loaded', async () => {
    await expect(trainGrpo({ model: 'm', steps: 0 })).rejects.toThrow(/steps = 0: too small/);
  });
});
