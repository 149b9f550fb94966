import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Engine, type TokenEvent } from '../../src/generate/index.js';
import { disposeModel } from '../../src/models/codec.js';
import { Driver, type Job } from '../../src/serve/driver.js';
import { tinyModel } from '../rl/tiny.js';

const model = tinyModel('dense');
let engine: Engine;
beforeEach(() => {
  engine = new Engine(model, { cacheTokens: 2048, maxBatch: 8, graphs: false });
});
afterEach(() => engine.dispose());
afterAll(() => disposeModel(model));

async function all(job: Job): Promise<TokenEvent[]> {
  const events: TokenEvent[] = [];
  for await (const event of job.events) events.push(event);
  return events;
}

/** Counts the engine's steps while `body` runs. */
async function stepsOf(body: () => Promise<unknown>): Promise<number> {
  const step = engine.step.bind(engine);
  let steps = 0;
  engine.step = () => {
    steps++;
    return step();
  };
  try {
    await body();
  } finally {
    engine.step = step;
  }
  return steps;
}

const greedy = { temperature: 0, maxTokens: 12 } as const;
const ids = (events: readonly TokenEvent[], index = 0) => events.filter((e) => e.index === index).map(({ id }) => id);

describe('the driver', () => {
  it('answers several at once, in the steps of one, as the engine would each alone', async () => {
    const driver = new Driver(engine, 10);
    const prompts = [[2, 3], [4, 5, 6], [7]];
    const found: TokenEvent[][] = [];
    const steps = await stepsOf(async () => {
      found.push(...(await Promise.all(prompts.map((prompt) => all(driver.submit(prompt, greedy))))));
    });
    expect(steps).toBe(12);
    expect(driver.jobs).toBe(0);
    expect(found.map((events) => ids(events))).toEqual(
      engine.generate(prompts, greedy).map(([completion]) => completion!.ids),
    );
    for (const events of found) expect(events.at(-1)!.finish).toBe('length');
  });

  it('takes in what comes while it runs', async () => {
    const driver = new Driver(engine, 10);
    const first = driver.submit([2, 3], { ...greedy, maxTokens: 40 });
    const second = (async () => {
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
      return all(driver.submit([4], greedy));
    })();
    const steps = await stepsOf(() => Promise.all([all(first), second]));
    expect(steps).toBeLessThanOrEqual(40);
  });

  it('computes nothing for a job that was cancelled: after the next step it is idle', async () => {
    const driver = new Driver(engine, 10);
    const job = driver.submit([2, 3], { ...greedy, maxTokens: 100, count: 3 });
    const steps = await stepsOf(async () => {
      for await (const event of job.events) if (event.id !== undefined) break; // as a client that leaves
      await new Promise((resolve) => setTimeout(resolve, 20));
    });
    expect(steps).toBeLessThanOrEqual(2);
    expect([driver.jobs, engine.busy]).toEqual([0, false]);
  });

  it('ends one completion of a job and leaves the others', async () => {
    const driver = new Driver(engine, 10);
    const job = driver.submit([2, 3], { ...greedy, count: 2 });
    const events: TokenEvent[] = [];
    for await (const event of job.events) {
      events.push(event);
      if (ids(events, 0).length === 3 && event.index === 0) job.cancel(0);
    }
    expect(ids(events, 0).filter((id) => id !== undefined)).toHaveLength(3);
    expect(events.filter(({ index }) => index === 0).at(-1)!.finish).toBe('cancelled');
    expect(ids(events, 1)).toHaveLength(12);
  });

  it('refuses more than it may hold, and takes the next when one has ended', async () => {
    const driver = new Driver(engine, 1);
    const job = driver.submit([2], greedy);
    expect(() => driver.submit([3], greedy)).toThrow(/1 requests are being answered or wait/);
    await all(job);
    expect(await all(driver.submit([3], greedy))).toHaveLength(12);
  });

  it('tells all jobs of a step that failed, and goes on with the next', async () => {
    const driver = new Driver(engine, 10);
    const jobs = [driver.submit([2], greedy), driver.submit([3], greedy)];
    const step = engine.step.bind(engine);
    engine.step = () => {
      throw new Error('no memory');
    };
    const ends = await Promise.allSettled(jobs.map(all));
    engine.step = step;
    expect(ends.map((end) => (end as PromiseRejectedResult).reason.message)).toEqual(['no memory', 'no memory']);
    expect([driver.jobs, engine.busy]).toEqual([0, false]);
    expect(await all(driver.submit([3], greedy))).toHaveLength(12);
  });

  it('ends all', async () => {
    const driver = new Driver(engine, 10);
    const jobs = [2, 3, 4].map((id) => all(driver.submit([id], { ...greedy, maxTokens: 100 })));
    await new Promise((resolve) => setImmediate(resolve));
    driver.cancelAll();
    for (const events of await Promise.all(jobs)) expect(events.length).toBeLessThan(100);
    expect(engine.busy).toBe(false);
  });
});
