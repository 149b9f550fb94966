import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { TrainMoeError } from '../../src/errors.js';
import * as native from '../../src/native.gen.js';
import { addon, packageRoot } from '../../src/native.js';
import { device, empty, from, memoryOf, scope, tagged, window, zeros } from './tensors.js';

const failure = (call: () => unknown): TrainMoeError => {
  try {
    call();
  } catch (error) {
    return error as TrainMoeError;
  }
  throw new Error('nothing was thrown');
};

describe('the contract of an op', () => {
  const x = () => zeros([6, 72]);
  it.each([
    [
      'names both sizes',
      () => native.rmsnormForward(x(), zeros([6]), x(), zeros([8]), 1e-6),
      'rmsnorm_forward: weight is [8], but C is 72 from y[6,72].',
    ],
    [
      'names both dtypes',
      () => native.add(x(), x(), empty([6, 72], { dtype: 'bf16' })),
      'add: b is bf16, but y is f32 and both must be the same.',
    ],
    ['names a missing tensor', () => native.add(x(), x(), undefined as never), /Cannot read|missing/],
    [
      'wants enough dimensions',
      () => native.rope(zeros([3]), zeros([1, 2]), from(new Int32Array(1)), true, false),
      /rope: x is \[3\], but at least 3 dimensions/,
    ],
    [
      'checks expressions of symbols',
      () => native.swigluForward(zeros([2, 3]), zeros([2, 5])),
      'swiglu_forward: gate_up is [2,5], but 2*C is 6.',
    ],
  ])('%s', (_, call, says) => {
    const error = scope(() => failure(call));
    if (typeof says === 'string') {
      expect(error).toBeInstanceOf(TrainMoeError);
      expect(error.code).toBe('bad-argument');
      expect(error.message).toBe(says);
    } else expect(error.message).toMatch(says);
  });

  it('folds leading dimensions', () =>
    scope(() => {
      const y = empty([2, 3, 4]);
      native.add(y, from(new Float32Array(24).fill(1), [2, 3, 4]), from(new Float32Array(24).fill(2), [2, 3, 4]));
      expect([...y.read()]).toEqual(new Array(24).fill(3));
    }));

  it('wants dense memory where it says so, and takes windows where it says so', () =>
    scope(() => {
      const whole = from(
        Float32Array.from({ length: 12 }, (_, i) => i),
        [3, 4],
      );
      const middle = window(whole, 1, [3, 2], [4, 1]);
      const y = empty([3, 2]);
      native.add(y, middle, middle);
      expect([...y.read()]).toEqual([2, 4, 10, 12, 18, 20]);
      expect(failure(() => native.swigluForward(zeros([3, 1]), middle)).message).toMatch(/must be contiguous/);
    }));
});

describe('memory', () => {
  it('refuses windows beyond a tensor, sizes that overflow, and released handles', () =>
    scope(() => {
      const t = zeros([4]);
      expect(failure(() => window(t, 2, [3], [1])).message).toMatch(/beyond/);
      // Products that do not fit 64 bits come out small.
      expect(failure(() => window(t, 0, [2 ** 33, 1], [2 ** 31, 1])).message).toMatch(/more than 2\^50/);
      expect(failure(() => window(t, 0, [2 ** 30, 2 ** 34], [0, 0])).message).toMatch(/more than 2\^50/);
      expect(failure(() => empty([2 ** 30, 2 ** 30])).message).toMatch(/2\^50/);
      expect(failure(() => empty([-1])).message).toMatch(/0 or more/);
      t.dispose();
      expect(failure(() => t.read()).code).toBe('bad-argument');
    }));

  it('says who holds what when there is no room, and goes on after it', () => {
    const cpu = device('cpu');
    const held = tagged('weights', () => zeros([1000, 1000]));
    addon.trimMemory(cpu.index);
    addon.limitMemory(cpu.index, memoryOf(cpu).live + 1_000_000);
    try {
      const error = failure(() => tagged('activations', () => zeros([1000, 1000])));
      expect(error.code).toBe('out-of-memory');
      expect(error.message).toMatch(
        /^cpu-\w+ has no room for an f32 tensor \[1000,1000\] \(4\.\d+ MB\) of activations; held now: .*weights 4/,
      );
    } finally {
      addon.limitMemory(cpu.index, 0);
    }
    scope(() => zeros([1000, 1000]));
    held.dispose();
  });
});

describe('the addon', () => {
  it('matches src/native.gen.ts', () => {
    execFileSync(process.execPath, [join(packageRoot, 'native', 'generate.mjs'), '--check'], { stdio: 'pipe' });
  });

  it('works in worker threads beside the main one', async () => {
    const code = `
      const { parentPort } = require('node:worker_threads');
      const addon = require(${JSON.stringify(join(packageRoot, 'node_modules', 'node-gyp-build'))})(${JSON.stringify(packageRoot)});
      const { index } = addon.openCpu();
      const id = addon.create(index, 0, 0, 1000);
      addon.ops.fill(id, 3);
      const out = new Float32Array(1000);
      addon.read(id, out);
      parentPort.postMessage(out.every((v) => v === 3));`;
    const results = await Promise.all(
      [1, 2, 3].map(
        () =>
          new Promise((resolve, reject) => {
            const worker = new Worker(code, { eval: true });
            worker.once('message', resolve).once('error', reject);
          }),
      ),
    );
    expect(results).toEqual([true, true, true]);
  });

  it('refuses more threads than it can have', () => {
    expect(failure(() => addon.setThreads(0)).message).toMatch(/1 to 256/);
  });
});
