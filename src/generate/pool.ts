import { TrainMoeError } from '../errors.js';
import { type CacheForm, cacheShapeOf, type Model } from '../models/family.js';
import * as native from '../native.gen.js';
import type { LayerCache } from '../nn/cache.js';
import { type Device, empty, permanent, rows, scope, tagged, tensorsIn } from '../tensor/index.js';

/**
 * The paged key cache of a model: `pages` pages of `pageSize` tokens in every layer. Sequences that share a prefix share
 * its full pages by count. Kwon et al., arXiv:2309.06180.
 */
export class PagePool {
  private readonly layers: readonly LayerCache[];
  private readonly free: number[];
  private readonly uses: Int32Array;

  constructor(
    model: Model,
    device: Device,
    readonly pages: number,
    readonly pageSize: number,
    form: CacheForm,
  ) {
    const { family, config } = model;
    const { key, value, shared } = cacheShapeOf(model, form);
    const make = (inner: readonly number[]) => empty([pages, pageSize, ...inner], { dtype: model.dtype, device });
    this.layers = permanent(() =>
      tagged('key cache', () =>
        Array.from({ length: family.layers(config) }, () => ({
          key: make(key),
          value: value && make(value),
          shared: shared && make(shared),
        })),
      ),
    );
    this.free = Array.from({ length: pages }, (_, i) => pages - 1 - i);
    this.uses = new Int32Array(pages);
  }

  get available(): number {
    return this.free.length;
  }

  layer = (index: number): LayerCache => this.layers[index]!;

  /** A page of its own. @throws TrainMoeError `out-of-memory` when none is left; callers reserve before they start. */
  take(): number {
    const page = this.free.pop();
    if (page === undefined)
      throw new TrainMoeError(
        'out-of-memory',
        `The key cache has no free page of ${this.pages}; raise cacheTokens or lower the batch.`,
      );
    this.uses[page] = 1;
    return page;
  }

  /** One more sequence uses the page. */
  share(page: number): void {
    this.uses[page]!++;
  }

  drop(page: number): void {
    if (--this.uses[page]! === 0) this.free.push(page);
  }

  /** Copies a page's content in every layer: a fork that will write behind the shared prefix. */
  copy(from: number, to: number): void {
    scope(() => {
      for (const cache of tensorsIn(this.layers)) native.copy(rows(cache, to, to + 1), rows(cache, from, from + 1));
    });
  }

  dispose(): void {
    for (const cache of tensorsIn(this.layers)) cache.dispose();
  }
}
