import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { NODE_DISK_OPS } from '../../../src/train/run/disk.js';
import { type LockHolder, type LockSystem, lockRun } from '../../../src/train/run/lock.js';
import { thrown } from '../../hub/memory.js';
import { temporaryFolder } from '../../hub/temporary.js';
import { compileProgram } from './compile.js';

const holderOf = (changes: Partial<LockHolder> = {}): LockHolder => ({
  ...{ pid: 100, host: 'here', since: '2026-01-01T00:00:00.000Z', processStart: '5', bootId: 'b', pidNamespace: 'n' },
  ...changes,
});

/** A machine on which the process of `self` runs, and those of `others`. */
const machine = (self: LockHolder, others: readonly LockHolder[] = [], ops = NODE_DISK_OPS): LockSystem => ({
  self: () => self,
  processStart: (pid) => [self, ...others].find((holder) => holder.pid === pid)?.processStart,
  ops,
});

const lockFiles = (run: string) => readdirSync(join(run, '.lock')).sort();

describe('the lock of a run folder', () => {
  it('keeps a second trainer out, naming the first, until it is released', () => {
    const run = join(temporaryFolder(), 'new', 'run');
    const lock = lockRun(run);
    const error = thrown(() => lockRun(run));
    expect(error.code).toBe('busy');
    for (const part of [run, 'this process has trained in it', lock.holder.since, 'Await that run']) {
      expect(error.message).toContain(part);
    }
    lock.release();
    lock.release();
    const again = lockRun(run);
    expect(lockFiles(run)).toEqual(['00000002.json']);
    // The first holder's second release must not open the second one's lock.
    lock.release();
    expect(thrown(() => lockRun(run)).code).toBe('busy');
    again.release();
  });

  const held = [
    ['a live process', {}, 'alive'],
    ['a process that is gone', { pid: 99 }, 'gone'],
    ['a process whose number another one has now', { processStart: '4' }, 'gone'],
    ['a process from before a reboot', { bootId: 'older' }, 'gone'],
    ['another machine', { host: 'there', pid: 99 }, 'unknown'],
    ['another container on this machine', { pidNamespace: 'm', pid: 99 }, 'unknown'],
  ] as const;
  it.each(held)('held by %s is judged rightly', (_, changes, state) => {
    const run = temporaryFolder();
    const other = holderOf(changes);
    lockRun(run, machine(other));
    const second = () => lockRun(run, machine(holderOf({ pid: 200, processStart: '9' }), [holderOf()]));
    if (state === 'gone') {
      expect(second().holder.pid).toBe(200);
      return;
    }
    const { code, message } = thrown(second);
    expect(code).toBe('busy');
    expect(message).toContain(`process ${other.pid} on ${other.host}`);
    expect(message).toContain(state === 'alive' ? 'kill 100' : 'cannot be seen from here');
    if (state === 'unknown') {
      // The sentence says which file to delete; doing so helps.
      rmSync(/delete (\S+)\.$/.exec(message)![1]!);
      expect(second().holder.pid).toBe(200);
    }
  });

  it('that cannot be read is not taken', () => {
    const run = temporaryFolder();
    mkdirSync(join(run, '.lock'));
    writeFileSync(join(run, '.lock', '00000001.json'), '{"pid": ');
    expect(thrown(() => lockRun(run)).message).toContain('delete');
  });

  it('taken by a competitor between looking and taking is not taken twice', () => {
    const run = temporaryFolder();
    lockRun(run, machine(holderOf({ pid: 99 })));
    const [a, b] = [holderOf({ pid: 201 }), holderOf({ pid: 202 })];
    const rival = machine(b, [a]);
    const ops = {
      ...NODE_DISK_OPS,
      linkSync: (from: string, to: string) => {
        lockRun(run, rival);
        NODE_DISK_OPS.linkSync(from, to);
      },
    } as typeof NODE_DISK_OPS;
    expect(thrown(() => lockRun(run, machine(a, [b], ops))).message).toContain('process 202');
    expect(lockFiles(run)).toEqual(['00000002.json']);
  });

  it('created again under a number that was cleared away is given up', () => {
    const run = temporaryFolder();
    lockRun(run, machine(holderOf({ pid: 99 })));
    const [slow, first, second] = [201, 202, 203].map((pid) => holderOf({ pid }));
    let once = true;
    const ops = {
      ...NODE_DISK_OPS,
      linkSync: (from: string, to: string) => {
        // While the slow one waits, one trainer comes and goes and another one comes: number 2 is free again.
        if (once) {
          once = false;
          lockRun(run, machine(first!)).release();
          lockRun(run, machine(second!));
        }
        NODE_DISK_OPS.linkSync(from, to);
      },
    } as typeof NODE_DISK_OPS;
    expect(thrown(() => lockRun(run, machine(slow!, [second!], ops))).message).toContain('process 203');
    expect(lockFiles(run)).toEqual(['00000003.json']);
  });

  it('is released on a full disk too, which has no room for another file', () => {
    const run = temporaryFolder();
    let full = false;
    const ops = {
      ...NODE_DISK_OPS,
      openSync: (path: string, flags: string, mode?: number) => {
        if (full && flags === 'w') throw Object.assign(new Error('no space'), { code: 'ENOSPC', syscall: 'open' });
        return NODE_DISK_OPS.openSync(path, flags, mode);
      },
    } as typeof NODE_DISK_OPS;
    const [first, second] = [201, 202].map((pid) => holderOf({ pid }));
    const lock = lockRun(run, machine(first!, [], ops));
    full = true;
    lock.release();
    expect(lockFiles(run)).toEqual(['00000001.json']);
    expect(lockRun(run, machine(second!, [first!])).holder.pid).toBe(202);
    const error = thrown(() => lockRun(run, machine(first!, [second!])));
    expect(error.code).toBe('busy');
  });

  it('whose folder was removed meanwhile is released without complaint', () => {
    const run = join(temporaryFolder(), 'run');
    const lock = lockRun(run);
    rmSync(run, { recursive: true });
    lock.release();
  });

  it('in a place where none can be made says so', () => {
    const run = join(temporaryFolder(), 'file');
    writeFileSync(run, '');
    expect(thrown(() => lockRun(run)).message).toContain(`Cannot lock the run folder ${run}`);
  });

  it('of a process that has ended, though its parent has not asked for its status, may be taken', async () => {
    const folder = temporaryFolder();
    // The shell starts a child that reads its input to the end, then becomes a program that never waits for it. Only
    // then does the input end: the child stays a zombie, for no shell is left that could ask for its status.
    const parent = spawn('sh', ['-c', 'exec 3<&0; cat <&3 & echo $!; exec sleep 30'], { stdio: 'pipe' });
    onTestFinished(() => void parent.kill('SIGKILL'));
    const pid = Number(await linesOf(parent)());
    await expect.poll(() => readFileSync(`/proc/${parent.pid}/comm`, 'utf8')).toBe('sleep\n');
    parent.stdin.end();
    const stat = () => readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ');
    await expect.poll(() => stat()[2]).toBe('Z');
    const other = lockRun(join(folder, 'other'));
    const zombie = { ...other.holder, pid, processStart: stat()[21] };
    mkdirSync(join(folder, 'run', '.lock'), { recursive: true });
    writeFileSync(join(folder, 'run', '.lock', '00000001.json'), JSON.stringify(zombie));
    expect(lockRun(join(folder, 'run')).holder.pid).toBe(process.pid);
    other.release();
  });

  it('left by a killed trainer goes to exactly one of several that want it at once', async () => {
    const folder = temporaryFolder();
    const program = compileProgram('test/train/run/locker.program.ts', join(folder, 'js'));
    const run = join(folder, 'run');
    const children: ChildProcess[] = [];
    onTestFinished(() => {
      for (const child of children) child.kill('SIGKILL');
    });
    for (let round = 0; round < 5; round++) {
      const go = join(folder, `go-${round}`);
      const contenders = Array.from({ length: 4 }, () =>
        spawn(process.execPath, [program, run, go], { stdio: 'pipe' }),
      );
      children.push(...contenders);
      const lines = contenders.map(linesOf);
      await Promise.all(lines.map((next) => next()));
      writeFileSync(go, '');
      const answers = await Promise.all(lines.map((next) => next()));
      const winner = contenders[answers.indexOf('taken')];
      expect(answers.filter((answer) => answer === 'taken')).toHaveLength(1);
      for (const answer of answers.filter((text) => text !== 'taken')) {
        expect(answer).toMatch(/^busy: /);
        expect(answer).toContain(`process ${winner!.pid} on`);
      }
      // The winner dies without a word, and its lock is stale for the next round.
      const gone = contenders.map((child) => new Promise((resolve) => child.on('close', resolve)));
      for (const child of contenders) child.kill('SIGKILL');
      await Promise.all(gone);
    }
    expect(JSON.parse(readFileSync(join(run, '.lock', lockFiles(run)[0]!), 'utf8'))).toHaveProperty('pid');
  });
});

/** Reads a child's output line by line. */
function linesOf(child: ChildProcess): () => Promise<string> {
  const lines: string[] = [];
  const waiting: ((line: string) => void)[] = [];
  let rest = '';
  child.stdout!.on('data', (text) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop()!;
    lines.push(...parts);
    while (lines.length > 0 && waiting.length > 0) waiting.shift()!(lines.shift()!);
  });
  return () => (lines.length > 0 ? Promise.resolve(lines.shift()!) : new Promise((resolve) => waiting.push(resolve)));
}
