import { TrainMoeError } from '../errors.js';
import { type CacheForm, contextOf, type Model } from '../models/family.js';
import { type Device, graphsPay, scope, tagged, tensorsIn } from '../tensor/index.js';
import { forwardBatch, launchBatch } from './batch.js';
import { DecodeGraphs } from './decode.js';
import { check, type GenerateOptions, type ResolvedOptions, resolveOptions } from './options.js';
import { PagePool } from './pool.js';
import { type FinishReason, fork, PAGE_SIZE, pagesNeeded, type Sequence } from './sequence.js';

/** Sizes of an engine; the defaults fit a small model on a CPU. */
export interface EngineOptions {
  /** Tokens that the cache holds over all sequences. Default 16384. */
  readonly cacheTokens?: number;
  /** Default 32. */
  readonly pageSize?: number;
  /** Sequences that run at once. Default 64. */
  readonly maxBatch?: number;
  /** Prompt tokens that one step may take in, so that running sequences are not held up long. Default 1024. */
  readonly prefillTokens?: number;
  /**
   * How latent attention keeps its keys; default 'latent', which takes the least memory. With 'expanded', log-probabilities
   * in f32 on the CPU have the bits of the training forward.
   */
  readonly cacheForm?: CacheForm;
  /** Record steps that take in no prompt and launch them as a whole; default where that pays, on GPUs and CPUs. */
  readonly graphs?: boolean;
}

/** One more token of a completion, or its end. */
export interface TokenEvent {
  readonly request: number;
  readonly index: number;
  /** Absent when the completion was cancelled. */
  readonly id?: number;
  readonly logprob?: number;
  readonly finish?: FinishReason;
}

/** A finished completion. */
export interface Completion {
  /** Its tokens, with the one that ended it. */
  readonly ids: readonly number[];
  /** log softmax(logits / temperature) of each id, before any truncation. */
  readonly logprobs: readonly number[];
  readonly finish: FinishReason;
}

interface Waiting {
  readonly request: number;
  readonly prompt: readonly number[];
  readonly options: ResolvedOptions;
}

/**
 * Generates with a paged key cache and continuous batching: each step() takes one token further every sequence that runs
 * and lets waiting prompts in as pages become free. Completions of one prompt share its cache.
 * Yu et al., Orca, OSDI 2022; Kwon et al., arXiv:2309.06180.
 */
export class Engine {
  private readonly pool: PagePool;
  private readonly device: Device;
  private readonly limits: Required<EngineOptions>;
  private readonly graphs: DecodeGraphs | undefined;
  private waiting: Waiting[] = [];
  private running: Sequence[] = [];
  private readonly followed = new Map<number, TokenEvent[]>();
  private nextRequest = 1;

  /** @throws TrainMoeError `bad-argument` when an option is no positive integer */
  constructor(
    readonly model: Model,
    options: EngineOptions = {},
  ) {
    this.device = tensorsIn(model.weights)[0]!.device;
    const defaults = {
      cacheTokens: 16_384,
      pageSize: PAGE_SIZE,
      maxBatch: 64,
      prefillTokens: 1024,
      cacheForm: 'latent',
    } as const;
    this.limits = { ...defaults, graphs: graphsPay(this.device), ...options };
    const { cacheTokens, pageSize, maxBatch, prefillTokens, cacheForm } = this.limits;
    for (const [name, value] of Object.entries({ cacheTokens, pageSize, maxBatch, prefillTokens }))
      check(name, value, Number.isInteger(value) && value > 0, 'a positive integer');
    this.pool = new PagePool(model, this.device, Math.ceil(cacheTokens / pageSize), pageSize, cacheForm);
    this.graphs = this.limits.graphs ? new DecodeGraphs(model, this.device, this.pool) : undefined;
  }

  /** True while step() has something to do. */
  get busy(): boolean {
    return this.running.length + this.waiting.length > 0;
  }

  /**
   * Queues a prompt and returns the request's number, which step()'s events carry. A completion that reaches the end of the
   * model's context ends there, as by `maxTokens`.
   * @throws TrainMoeError `bad-argument` when an option or id is out of range, or the request can never fit the cache.
   */
  submit(prompt: readonly number[], options: GenerateOptions = {}): number {
    const asked = resolveOptions(options);
    const vocabulary = this.model.family.vocabulary(this.model.config);
    if (prompt.length === 0)
      throw new TrainMoeError('bad-argument', 'The prompt is empty; give at least one token (a start token, say).');
    for (const id of prompt)
      if (!Number.isInteger(id) || id < 0 || id >= vocabulary)
        throw new TrainMoeError(
          'bad-argument',
          `The prompt holds the id ${id}; this model's ids are 0 to ${vocabulary - 1}.`,
        );
    const context = contextOf(this.model);
    if (prompt.length >= context)
      throw new TrainMoeError(
        'bad-argument',
        `The prompt has ${prompt.length} tokens, but this model reads ${context} with what it writes; give a shorter one.`,
      );
    const resolved = { ...asked, maxTokens: Math.min(asked.maxTokens, context - prompt.length) };
    const needed = pagesNeeded(prompt.length, resolved, this.pool.pageSize);
    if (needed > this.pool.pages || resolved.count > this.limits.maxBatch)
      throw new TrainMoeError(
        'bad-argument',
        `${resolved.count} completions of ${prompt.length} + ${resolved.maxTokens} tokens need ${needed * this.pool.pageSize} cache tokens and a batch of ${resolved.count}; ` +
          `this engine has ${this.pool.pages * this.pool.pageSize} and ${this.limits.maxBatch}. Raise cacheTokens or maxBatch, or lower maxTokens.`,
      );
    this.waiting.push({ request: this.nextRequest, prompt, options: resolved });
    return this.nextRequest++;
  }

  /**
   * Ends a request, or one completion of it, at once and frees its pages; unknown or finished ones are ignored. A single
   * completion can be ended once it has its first token.
   */
  cancel(request: number, index?: number): TokenEvent[] {
    if (index === undefined) {
      this.waiting = this.waiting.filter((w) => w.request !== request);
      this.followed.get(request)?.push({ request, index: 0, finish: 'cancelled' });
      this.followed.delete(request);
    }
    const gone = this.running.filter((s) => s.request === request && (index ?? s.index) === s.index);
    for (const s of gone) s.finish = 'cancelled';
    this.retire();
    return gone.map((s) => ({ request, index: s.index, finish: 'cancelled' }));
  }

  /**
   * Keeps the events of a request, whoever calls step() for them, until the function that is returned takes them. So several
   * readers may share an engine. It ends with cancel().
   */
  follow(request: number): () => TokenEvent[] {
    const events: TokenEvent[] = [];
    this.followed.set(request, events);
    return () => events.splice(0);
  }

  /** Takes every running sequence one token further. */
  step(): TokenEvent[] {
    this.admit();
    if (this.running.length === 0) return [];
    const batch = [...this.running];
    const first = batch.filter((s) => s.cached < s.prompt.length);
    const plain = first.length === 0 && !batch.some((s) => s.options.repetitionPenalty !== 1);
    const { ids, logprobs } = tagged('activations', () =>
      plain && this.graphs
        ? launchBatch(this.graphs, batch, this.pool)
        : scope(() => forwardBatch(this.model, batch, this.pool)),
    );
    const events: TokenEvent[] = [];
    let at = 0;
    for (const s of batch) {
      const copies = first.includes(s) ? s.options.count : 1;
      const family = [s, ...Array.from({ length: copies - 1 }, (_, i) => fork(s, i + 1, this.pool))];
      this.running.push(...family.slice(1));
      for (const one of family) {
        const event = advance(one, ids[at]!, logprobs[at]!);
        events.push(event);
        this.followed.get(event.request)?.push(event);
        at++;
      }
    }
    this.retire();
    return events;
  }

  /**
   * Runs the prompts to their end; result[i] holds the completions of prompts[i]. The event loop stands still meanwhile:
   * streamText() lets it turn.
   */
  generate(prompts: readonly (readonly number[])[], options: GenerateOptions = {}): Completion[][] {
    const results = new Map<number, { ids: number[]; logprobs: number[]; finish: FinishReason }[]>();
    const requests = prompts.map((prompt) => this.submit(prompt, options));
    for (const r of requests)
      results.set(
        r,
        Array.from({ length: options.count ?? 1 }, () => ({ ids: [], logprobs: [], finish: 'length' as FinishReason })),
      );
    while (this.busy)
      for (const { request, index, id, logprob, finish } of this.step()) {
        const completion = results.get(request)?.[index];
        if (!completion) continue;
        if (id !== undefined) {
          completion.ids.push(id);
          completion.logprobs.push(logprob!);
        }
        if (finish) completion.finish = finish;
      }
    return requests.map((r) => results.get(r)!);
  }

  /** Gives the cache back. The model stays. */
  dispose(): void {
    this.graphs?.dispose();
    this.pool.dispose();
    this.running = [];
    this.waiting = [];
    for (const request of this.followed.keys()) this.cancel(request);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private admit(): void {
    let batch = this.running.length;
    let prefill = 0;
    let reserved = this.running.reduce((sum, s) => sum + this.outstanding(s), 0);
    while (this.waiting.length > 0) {
      const { request, prompt, options } = this.waiting[0]!;
      const needed = pagesNeeded(prompt.length, options, this.pool.pageSize);
      const fits = batch + options.count <= this.limits.maxBatch && reserved + needed <= this.pool.available;
      if (!fits || (prefill > 0 && prefill + prompt.length > this.limits.prefillTokens)) return;
      this.waiting.shift();
      this.running.push({
        request,
        index: 0,
        prompt,
        options,
        ids: [],
        logprobs: [],
        pages: [],
        cached: 0,
        finish: undefined,
      });
      batch += options.count;
      prefill += prompt.length;
      reserved += needed;
    }
  }

  /** Pages that a running sequence may still ask for. */
  private outstanding(s: Sequence): number {
    return Math.max(Math.ceil((s.prompt.length + s.options.maxTokens) / this.pool.pageSize) - s.pages.length, 0);
  }

  private retire(): void {
    for (const s of this.running) if (s.finish) for (const page of s.pages) this.pool.drop(page);
    this.running = this.running.filter((s) => !s.finish);
  }
}

/** Appends a token and sees whether the completion ends with it. */
function advance(s: Sequence, id: number, logprob: number): TokenEvent {
  s.ids.push(id);
  s.logprobs.push(logprob);
  if (s.options.stopIds.includes(id)) s.finish = 'stop';
  else if (s.ids.length >= s.options.maxTokens) s.finish = 'length';
  return { request: s.request, index: s.index, id, logprob, ...(s.finish && { finish: s.finish }) };
}
