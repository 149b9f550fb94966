import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { RewardResult, RewardSpec, Sample } from '../types.js';
import { skip } from '../types.js';
import { lineSplitter, MAX_REPLY, type Reply, type Request } from './protocol.js';
import { toResult } from './result.js';

export interface GraderOptions {
  readonly rewards: readonly RewardSpec[];
  /** Memory of one grader. */
  readonly memoryMb: number;
  /** Bytes a grader may print for one sample. */
  readonly outputBytes: number;
}

const WORKER = fileURLToPath(new URL('./worker.js', import.meta.url));
/** The end of what a grader printed, for the reason of a skip. */
const TAIL = 300;

/** One grader process. It answers one request at a time; after `kill` or its own death it answers no more. */
export class Grader {
  private readonly child: ChildProcess;
  private readonly channel: Socket;
  private waiting: ((reply: Reply) => void) | undefined;
  private printed = 0;
  private tail = '';
  private died: string | undefined;

  constructor(private readonly options: GraderOptions) {
    // The shell sets the limit that Node cannot: an abort for want of heap must leave no core file behind.
    const heap = Math.ceil(options.memoryMb * 0.75);
    const words = ['-c', 'ulimit -c 0; exec "$@"', 'grader', process.execPath, `--max-old-space-size=${heap}`, WORKER];
    const { NODE_OPTIONS: _, ...env } = process.env;
    // Its own process group, so that what it starts is killed with it.
    this.child = spawn('/bin/sh', words, { detached: true, stdio: ['ignore', 'pipe', 'pipe', 'pipe'], env });
    this.channel = this.child.stdio[3] as Socket;
    this.channel.on('error', () => {});
    const split = lineSplitter(MAX_REPLY);
    this.channel.on('data', (chunk: Buffer) => this.read(split(chunk)));
    for (const stream of [this.child.stdout!, this.child.stderr!])
      stream.on('data', (chunk: Buffer) => this.listen(chunk));
    this.child.on('error', (error) => this.end(`the grader could not be started: ${error.message}`));
    this.child.on('close', (code, signal) => this.end(this.lastWords(code, signal)));
    alive.add(this);
  }

  get alive(): boolean {
    return this.died === undefined;
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Loads the rewards; the reason if that fails. */
  async load(timeoutMs: number): Promise<string | undefined> {
    const { rewards, memoryMb } = this.options;
    const reply = await this.ask({ kind: 'load', rewards, memoryMb }, timeoutMs);
    if (reply.kind === 'ready') return undefined;
    this.kill('its rewards could not be loaded');
    return reply.kind === 'scored' ? 'the grader spoke before it was asked' : reply.reason;
  }

  /** Scores one sample. Whatever happens to the grader, there is a result within the deadline. */
  async score(reward: number, sample: Sample, timeoutMs: number): Promise<RewardResult> {
    const id = randomInt(2 ** 47); // a reward that writes answers itself must not know that of a sample to come
    this.printed = 0;
    this.tail = '';
    const reply = await this.ask({ kind: 'score', id, reward, sample }, timeoutMs);
    // A reward can write into the channel itself, so the result is looked at again on this side.
    if (reply.kind === 'scored' && reply.id === id) return toResult(reply.result);
    this.kill('it is out of step');
    return skip(
      reply.kind === 'failed' || reply.kind === 'memory' ? reply.reason : 'the grader answered another question',
    );
  }

  /** Ends the process and all of its group at once. */
  kill(reason: string): void {
    if (this.child.pid !== undefined) {
      try {
        process.kill(-this.child.pid, 'SIGKILL');
      } catch {
        // The group is gone already.
      }
    }
    this.end(reason);
  }

  private ask(request: Request, timeoutMs: number): Promise<Reply> {
    if (this.died !== undefined) return Promise.resolve({ kind: 'failed', reason: this.died });
    return new Promise((resolve) => {
      const expire = (): void => {
        // Timers run before sockets are read. Had this process been busy, as in a training step, an answer may lie
        // there since long; so the socket is read once more before the grader is blamed.
        setImmediate(() =>
          setImmediate(() => this.waiting === settle && this.kill(`the grader did not answer within ${timeoutMs} ms`)),
        );
      };
      const timer = setTimeout(expire, timeoutMs);
      const settle = (reply: Reply): void => {
        clearTimeout(timer);
        this.waiting = undefined;
        resolve(reply);
      };
      this.waiting = settle;
      this.channel.write(`${JSON.stringify(request)}\n`);
    });
  }

  private read(lines: readonly string[] | undefined): void {
    if (!lines) {
      this.kill(`the grader's answer has more than ${MAX_REPLY} bytes`);
      return;
    }
    for (const line of lines) {
      if (line === '') continue;
      const reply = parseReply(line);
      if (reply) this.waiting?.(reply);
      else this.kill('the grader wrote something into its channel that is no answer');
    }
  }

  private listen(chunk: Buffer): void {
    this.printed += chunk.length;
    this.tail = (this.tail + chunk.subarray(-TAIL).toString('utf8')).slice(-TAIL);
    if (this.printed > this.options.outputBytes)
      this.kill(`the grader printed more than ${this.options.outputBytes} bytes`);
  }

  private lastWords(code: number | null, signal: NodeJS.Signals | null): string {
    const how = signal === null ? `left with status ${code}` : `was ended by ${signal}`;
    const said = this.tail.trim().replace(/\s+/g, ' ');
    return `the grader ${how}${said === '' ? '' : `; it last said: ${said}`}`;
  }

  private end(reason: string): void {
    if (this.died !== undefined) return;
    this.died = reason;
    alive.delete(this);
    // Descendants may hold the pipes open; nothing of theirs is wanted.
    this.channel.destroy();
    this.child.stdout?.destroy();
    this.child.stderr?.destroy();
    this.waiting?.({ kind: 'failed', reason });
  }
}

function parseReply(line: string): Reply | undefined {
  try {
    const reply = JSON.parse(line) as Reply;
    const spoken = reply?.kind === 'ready' || reply?.kind === 'scored';
    return spoken || typeof (reply as { reason?: unknown } | null)?.reason === 'string' ? reply : undefined;
  } catch {
    return undefined;
  }
}

/** Graders are killed with the process; after a SIGKILL their own watch ends them. */
const alive = new Set<Grader>();
process.on('exit', () => {
  for (const grader of alive) grader.kill('the trainer ended');
});
