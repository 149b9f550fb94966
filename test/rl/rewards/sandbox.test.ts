import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { code, runInSandbox } from '../../../src/rl/rewards/index.js';
import { DEFAULT_LIMITS } from '../../../src/rl/rewards/sandbox/run.js';

const has = (tool: string): boolean => spawnSync(tool, ['--version']).status === 0;
const missing = ['bwrap', 'prlimit', 'python3'].filter((tool) => !has(tool));
const title = missing.length > 0 ? `the sandbox (skipped: ${missing.join(', ')} not found)` : 'the sandbox';

const limits = { ...DEFAULT_LIMITS.python, timeoutMs: 8000, cpuSeconds: 1, memoryMb: 128 };
const python = (program: string) => runInSandbox('python', program, limits);

describe.skipIf(missing.length > 0)(title, () => {
  test('runs a program to its end', async () => {
    expect(await python('import math\nassert math.sqrt(4) == 2')).toMatchObject({ passed: true, outcome: 'passed' });
    expect(await python('assert 1 == 2, "why"')).toMatchObject({
      passed: false,
      outcome: 'failed',
      detail: expect.stringMatching(/AssertionError: why$/),
    });
    expect(await python('x =')).toMatchObject({ passed: false, detail: expect.stringContaining('SyntaxError') });
  });

  test.each([
    ['leaves early with status 0', 'import sys; sys.exit(0)'],
    ['leaves early without a word', 'import os; os._exit(0)'],
    ['says it has passed', 'print("passed"); raise SystemExit'],
    ['kills itself', 'import os; os.kill(os.getpid(), 9)'],
    ['recurses for ever', 'def f(): f()\nf()'],
  ])('does not pass a program that %s', async (_what, program) => {
    expect((await python(program)).passed).toBe(false);
  });

  test.each([
    [
      'the network',
      'import socket\ntry:\n  socket.create_connection(("1.1.1.1", 53), 1)\nexcept OSError: pass\nelse: raise SystemExit(1)',
    ],
    ['the host over its loopback', 'import socket\ns = socket.socket()\nassert s.connect_ex(("127.0.0.1", 22)) != 0'],
    ['the home folders', 'import os\nassert not os.path.exists("/root") and not os.path.exists("/home")'],
    [
      'the environment',
      'import os\nassert set(os.environ) <= {"PATH", "HOME", "LANG", "PWD", "LC_CTYPE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"}, os.environ',
    ],
    ['other processes', 'import os\nassert max(int(p) for p in os.listdir("/proc") if p.isdigit()) < 20'],
    ['files outside its own', 'try:\n  open("/usr/x", "w")\nexcept OSError: pass\nelse: raise SystemExit(1)'],
    ['the hostname', 'import socket\nassert socket.gethostname() == "sandbox"'],
  ])('keeps a program from %s', async (_what, program) => {
    expect(await python(program)).toMatchObject({ passed: true, detail: '' });
  });

  test('has a folder of its own, which is empty each time', async () => {
    const program = 'import os\nassert os.listdir("/tmp") == []\nopen("/tmp/x", "w").write("1")';
    expect((await python(program)).passed).toBe(true);
    expect((await python(program)).passed).toBe(true);
  });

  test.each([
    ['time', 'import time\ntime.sleep(60)', 'timeout'],
    ['CPU time', 'while True: pass', 'failed'],
    ['memory', 'x = bytearray(10**9)', 'failed'],
    ['files', 'f = open("/tmp/x", "wb")\nwhile True: f.write(b"x" * 10**6)', 'failed'],
    ['output', 'while True: print("x" * 10**5)', 'output'],
    ['children', 'import os\nfor i in range(50): os.fork() or __import__("time").sleep(1)', 'failed'],
  ])('bounds %s', async (_what, program, outcome) => {
    expect(await python(program)).toMatchObject({ passed: false, outcome });
  });

  test('ends a fork bomb, and all that it started', async () => {
    const bomb = 'import os\nwhile True:\n  try: os.fork()\n  except OSError: pass';
    expect(await python(bomb)).toMatchObject({ passed: false });
    const { stdout } = spawnSync('ps', ['-eo', 'args'], { encoding: 'utf8' });
    expect(stdout.split('\n').filter((line) => line.includes('except OSError: pass'))).toEqual([]);
  });

  test('runs JavaScript, with promises', async () => {
    const javascript = (program: string) => runInSandbox('javascript', program);
    expect((await javascript('await 1; require("node:assert").equal(1 + 1, 2)')).passed).toBe(true);
    expect((await javascript('throw new Error("no")')).passed).toBe(false);
    expect((await javascript('process.exit(0)')).passed).toBe(false);
    expect((await javascript('await new Promise(() => {})')).passed).toBe(false);
  });

  test('the code reward gives 1, 0 or a skip', async () => {
    const reward = code({ limits: { timeoutMs: 3000 } });
    const meta = { test: 'assert f(2) == 4' };
    const score = (completion: string, of: Record<string, unknown> = meta) =>
      reward.score({ prompt: '', completion, meta: of });
    expect(await score('```python\ndef f(x): return x * x\n```')).toMatchObject({ value: 1 });
    expect(await score('def f(x): return x')).toMatchObject({ value: 0, log: { outcome: 'failed' } });
    expect(await score('def f(x): return x', {})).toMatchObject({ skip: true });
    await reward.prepare!();
  });
});

describe.skipIf(missing.length > 0)('a sandbox that does not come up', () => {
  test('is no wrong answer', async () => {
    // Too little memory for the interpreter itself.
    const starved = code({ limits: { memoryMb: 1 } });
    const sample = { prompt: '', completion: 'x = 1', meta: { test: 'assert x == 1' } };
    await expect(starved.score(sample)).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringMatching(/^The sandbox did not start the program/),
    });
  });
});
