import { TrainMoeError } from '../errors.js';
import type { Engine, GenerateOptions, TokenEvent } from '../generate/index.js';

/** A prompt that is being answered. */
export interface Job {
  /** Its tokens as they come, the last one of each completion with why it ended. Leaving the loop early cancels the job. */
  readonly events: AsyncIterable<TokenEvent>;
  /** Ends one completion that has begun, or the whole job, at once: no step computes for it any more. */
  cancel(index?: number): void;
}

/**
 * Keeps an engine going for many at once: as long as there is something to do it takes step after step, and lets the event loop
 * turn between them, so that requests arrive and clients may leave. The engine is its own.
 */
export class Driver {
  private readonly open = new Map<number, { left: number; readonly to: ReadableStreamDefaultController<TokenEvent> }>();
  private turning = false;

  /** @param most jobs at once, those that wait included */
  constructor(
    readonly engine: Engine,
    private readonly most: number,
  ) {}

  /** Jobs that have not ended. */
  get jobs(): number {
    return this.open.size;
  }

  /** @throws TrainMoeError `busy` when there are as many jobs as allowed, `bad-argument` as Engine.submit() */
  submit(prompt: readonly number[], options: GenerateOptions): Job {
    if (this.jobs >= this.most)
      throw new TrainMoeError(
        'busy',
        `${this.jobs} requests are being answered or wait, as many as allowed; ask again later.`,
      );
    const request = this.engine.submit(prompt, options);
    const cancel = (index?: number) => this.cancel(request, index);
    const events = new ReadableStream<TokenEvent>({
      start: (to) => void this.open.set(request, { left: options.count ?? 1, to }),
      cancel: () => this.cancel(request),
    });
    void this.turn();
    return { events, cancel };
  }

  /** Ends all jobs. */
  cancelAll(): void {
    for (const request of [...this.open.keys()]) this.cancel(request);
  }

  private cancel(request: number, index?: number): void {
    const gone = this.engine.cancel(request, index);
    if (index === undefined) this.end(request);
    else for (const event of gone) this.give(event);
  }

  private give(event: TokenEvent): void {
    const job = this.open.get(event.request);
    if (!job) return;
    job.to.enqueue(event);
    if (event.finish && --job.left === 0) this.end(event.request);
  }

  private end(request: number, error?: unknown): void {
    const job = this.open.get(request);
    if (!job) return;
    this.open.delete(request);
    try {
      if (error === undefined) job.to.close();
      else job.to.error(error);
    } catch {
      // its reader has left, and with it the stream
    }
  }

  private async turn(): Promise<void> {
    if (this.turning) return;
    this.turning = true;
    try {
      await Promise.resolve(); // the caller gets its job before the first step
      while (this.engine.busy) {
        for (const event of this.engine.step()) this.give(event);
        await new Promise((resolve) => setImmediate(resolve));
      }
    } catch (error) {
      for (const request of [...this.open.keys()]) {
        this.engine.cancel(request);
        this.end(request, error);
      }
    } finally {
      this.turning = false;
    }
  }
}
