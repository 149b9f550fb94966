import { afterEach, describe, expect, it, vi } from 'vitest';
import { busyOf, type MeasureOptions, measure, measureAsync, median } from '../../src/bench/measure.js';
import { checkOptions } from '../../src/bench/options.js';
import { failed, measured, rowsTable } from '../../src/bench/report.js';

const options: MeasureOptions = { budget: 0, warmup: 2, least: 5, most: 9, patience: 0 };

afterEach(() => {
  vi.restoreAllMocks();
});

/** A clock that stands still but for pass(). */
function fakeClock(): { pass(seconds: number): void } {
  let milliseconds = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => milliseconds);
  return {
    pass: (seconds) => {
      milliseconds += seconds * 1000;
    },
  };
}

describe('a measurement', () => {
  it('warms up, then repeats at least and at most as often as told', () => {
    let calls = 0;
    const count = () => {
      calls++;
    };
    expect(measure(count, options).seconds.length).toBe(5);
    expect(calls).toBe(7);
    expect(measure(count, { ...options, budget: 1e6 }).seconds.length).toBe(9);
  });

  it('stops when its budget is spent', () => {
    const clock = fakeClock();
    expect(measure(() => clock.pass(1), { ...options, budget: 6.5 }).seconds).toEqual(new Array(7).fill(1));
  });

  it('prepares off the clock and finishes on it', () => {
    const clock = fakeClock();
    const order: string[] = [];
    const step = (name: string, seconds: number) => () => {
      order.push(name);
      clock.pass(seconds);
    };
    const hooks = { prepare: step('prepare', 40), finish: step('finish', 0.5) };
    expect(measure(step('run', 1), { ...options, warmup: 0, least: 2, ...hooks }).seconds).toEqual([1.5, 1.5]);
    expect(order).toEqual(['prepare', 'run', 'finish', 'prepare', 'run', 'finish']);
  });

  it("takes the device's own clock where there is one: it begins behind what was prepared and ends the wait", () => {
    const order: string[] = [];
    const note = (name: string) => () => void order.push(name);
    const clock = {
      begin: note('begin'),
      end: () => {
        order.push('end');
        return 0.25;
      },
    };
    const hooks = { prepare: note('prepare'), finish: note('finish'), clock };
    expect(measure(note('run'), { ...options, warmup: 1, least: 2, ...hooks }).seconds).toEqual([0.25, 0.25]);
    expect(order).toEqual(['run', 'prepare', 'begin', 'run', 'end', 'prepare', 'begin', 'run', 'end']);
  });

  it('waits for work that ends later', async () => {
    const clock = fakeClock();
    const run = async () => {
      await Promise.resolve();
      clock.pass(2);
    };
    expect((await measureAsync(run, options)).seconds).toEqual([2, 2, 2, 2, 2]);
  });

  it('lets errors through', async () => {
    const fail = () => {
      throw new RangeError('no');
    };
    expect(() => measure(fail, options)).toThrow(RangeError);
    await expect(measureAsync(async () => fail(), options)).rejects.toThrow(RangeError);
  });

  it('takes the middle', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(() => median([])).toThrow('no values');
  });

  it('counts the cores that work: not those that idle or wait for a disk', () => {
    expect(busyOf('cpu  100 20 300 9999 8888 4 5 6 70 80\ncpu0 1 2 3\n')).toBeCloseTo(
      (100 + 20 + 300 + 4 + 5 + 6) / 100,
    );
  });
});

describe('a row', () => {
  const head = { rival: 'train-moe', job: 'gemm', shape: { name: 's' } };
  const row = measured(head, 'tflop_per_s', 3, { seconds: [1, 4, 2], others: 0.25 }, { size: 7 });

  it('takes its value from the median', () => {
    expect(row).toEqual({
      ...head,
      metric: 'tflop_per_s',
      value: 1.5,
      n: 3,
      median: 2,
      min: 1,
      max: 4,
      others: 0.25,
      size: 7,
    });
  });

  it('of a failure is one line, without paths and colours', () => {
    const error = failed(head, new Error(`\u001b[31mcannot open\u001b[0m\n  /some/where/deep/file.so: bad ratio 1/2`));
    expect(error).toEqual({ ...head, error: 'cannot open file.so: bad ratio 1/2' });
    expect(failed(head, 'x'.repeat(1000)).error.length).toBe(800);
  });

  it('shows in a table for people', () => {
    const [titles, first, second] = rowsTable([row, failed(head, 'why not')]).split('\n');
    expect(titles).toMatch(/^job +shape +variant +speed +time +± +others$/);
    expect(first).toMatch(/^gemm +s +train-moe +1\.50 TFLOP\/s +2s +150% +0\.25$/);
    expect(second).toMatch(/failed: why not/);
  });
});

describe('the options', () => {
  const good = { job: '', shape: '', rival: '', device: 'cpu', threads: 1, patience: 0, smoke: true };

  it('are refused with the reason', () => {
    expect(() => checkOptions(good)).not.toThrow();
    expect(() => checkOptions({ ...good, shape: '(' })).toThrow('--shape is "(", which is no regular expression');
    expect(() => checkOptions({ ...good, seconds: 0 })).toThrow('--seconds is 0; it must be a number above 0.');
    expect(() => checkOptions({ ...good, threads: 1.5 })).toThrow('--threads is 1.5');
    expect(() => checkOptions({ ...good, patience: Number.NaN })).toThrow('--patience is NaN');
  });
});
