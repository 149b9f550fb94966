/**
 * A grader: a process that loads rewards and scores samples one after another, over descriptor 3. It may hang, crash
 * or be killed at any moment; the pool replaces it. A process and not a thread, because a thread stuck in native code
 * cannot be ended, and because a thread's memory is ours.
 */
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { createReward } from '../registry.js';
import type { Reward, RewardResult, RewardSpec, Sample } from '../types.js';
import { skip } from '../types.js';
import { watchIntrinsics } from './intrinsics.js';
import { lineSplitter, type Reply, type Request } from './protocol.js';
import { describeThrown, toResult } from './result.js';

const CHANNEL = 3;
const channel = new Socket({ fd: CHANNEL, readable: true, writable: true });
const send = (reply: Reply): void => void channel.write(`${JSON.stringify(reply)}\n`);

let rewards: readonly Reward[] = [];
/** Which of the language's own objects the rewards have changed since they were loaded. */
let changed = watchIntrinsics();

async function load(specs: readonly RewardSpec[], memoryMb: number): Promise<void> {
  watch(memoryMb);
  try {
    rewards = await Promise.all(specs.map(createReward));
    for (const reward of rewards) await reward.prepare?.();
    changed = watchIntrinsics();
    send({ kind: 'ready' });
  } catch (error) {
    send({ kind: 'failed', reason: error instanceof Error ? error.message : describeThrown(error) });
  }
}

async function score(reward: number, sample: Sample): Promise<RewardResult> {
  try {
    return toResult(await rewards[reward]!.score(sample));
  } catch (error) {
    return skip(`the reward threw ${describeThrown(error)}`);
  }
}

async function answer(id: number, reward: number, sample: Sample): Promise<void> {
  const result = await score(reward, sample);
  refuseChanges();
  send({ kind: 'scored', id, result });
}

/** The samples to come must not be judged in a world that a reward has bent: the process says so and ends. */
function refuseChanges(): void {
  const name = changed();
  if (name === undefined) return;
  writeSync(CHANNEL, `\n{"kind":"failed","reason":"the reward changed ${name}"}\n`); // no JSON.stringify: it may be bent
  process.kill(process.pid, 'SIGKILL');
}

/**
 * A thread that ends this process when its memory outgrows the limit (buffers lie outside the heap that V8 bounds) or
 * when the pool's process is gone: a hanging grader reads no end of its channel.
 */
function watch(memoryMb: number): void {
  const source = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { writeSync } = require('node:fs');
    const parent = process.ppid;
    const die = () => process.kill(process.pid, 'SIGKILL');
    setInterval(() => {
      if (process.ppid !== parent) die();
      if (process.memoryUsage.rss() > workerData.bytes) {
        try { writeSync(${CHANNEL}, workerData.last); } catch {}
        die();
      }
    }, 50);
  `;
  const reason = `the grader used more than ${memoryMb} MB of memory`;
  const last = `\n${JSON.stringify({ kind: 'memory', reason } satisfies Reply)}\n`;
  new Worker(source, { eval: true, workerData: { bytes: memoryMb * 2 ** 20, last } }).unref();
}

const split = lineSplitter(Number.POSITIVE_INFINITY);
channel.on('data', (chunk: Buffer) => {
  for (const line of split(chunk) ?? []) {
    if (line === '') continue;
    const request = JSON.parse(line) as Request;
    if (request.kind === 'load') void load(request.rewards, request.memoryMb);
    else void answer(request.id, request.reward, request.sample);
  }
});
channel.on('error', () => process.exit(0));
channel.on('end', () => process.exit(0));
// A rejection that nobody awaits belongs to the sample at work: the pool reports it and starts another grader.
process.on('unhandledRejection', (error) => {
  writeSync(2, `unhandled rejection: ${describeThrown(error)}\n`);
  process.exit(1);
});
