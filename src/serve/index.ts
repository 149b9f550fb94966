import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, resolve } from 'node:path';
import { TrainMoeError } from '../errors.js';
import { Engine } from '../generate/index.js';
import { disposeModel } from '../models/codec.js';
import { contextOf } from '../models/family.js';
import { type LoadedModel, loadDecoder } from '../models/folder.js';
import { addon } from '../native.js';
import { chooseDevice, type Device } from '../tensor/index.js';
import { roomOf } from '../tensor/room.js';
import { loadTokenizer, openChatTemplate } from '../tokenizer/index.js';
import { advising } from '../train/fit.js';
import { modelFolder } from '../train/run/model_folder.js';
import { openAiRoutes } from './api.js';
import type { ServeConfig } from './config.js';
import { Driver } from './driver.js';
import { cacheTokensFor, serveChoices } from './fit.js';
import { type Ended, httpServer } from './http.js';
import type { Abilities } from './requests.js';

export { resolveServe, type ServeConfig, type ServeInput } from './config.js';
export type { Ended as ServedRequest } from './http.js';

/** Tokens of a request, where the model reads so many and no other number is asked for. */
const CONTEXT = 16_384;

/** What a server has to offer. */
export interface ServeFacts {
  readonly url: string;
  readonly name: string;
  readonly device: string;
  readonly deviceReason: string | undefined;
  readonly dtype: 'f32' | 'bf16';
  /** Tokens of a request, its answer included. */
  readonly context: number;
  readonly parallel: number;
  readonly cacheTokens: number;
  /** Whether anyone who reaches the address may ask. */
  readonly open: boolean;
}

/** What a server tells while it runs. */
export type ServeEvent =
  | { readonly kind: 'listening'; readonly facts: ServeFacts }
  | { readonly kind: 'request'; readonly request: Ended }
  /** What went wrong inside; the client was told that something did. */
  | { readonly kind: 'failed'; readonly error: unknown };

/** A server that listens. */
export interface ServedModel {
  readonly facts: ServeFacts;
  /** Requests that are being answered or wait. */
  readonly requests: number;
  /**
   * Takes no more requests and waits for those that run; with `now` it ends them, also while another call waits. Gives the memory
   * back.
   */
  close(options?: { readonly now?: boolean }): Promise<void>;
}

/**
 * Answers requests with a model, over OpenAI's API: `/v1/chat/completions`, `/v1/completions`, `/v1/models`, and `/health`. All
 * that run share the engine's batches. Resolves when it listens.
 *
 *     const server = await serve(resolveServe({ model: 'runs/chat' }));
 *     console.log(server.facts.url); // http://127.0.0.1:8000
 *
 * @throws TrainMoeError `busy` when the port is taken, `out-of-memory` with flags that would fit, `not-found` and `bad-config` as
 *   loading the model
 */
export async function serve(
  config: ServeConfig,
  onEvent: (event: ServeEvent) => void = () => {},
): Promise<ServedModel> {
  if (config.threads) addon.setThreads(config.threads);
  const { device, reason } = chooseDevice(config.device);
  const folder = modelFolder(config.model);
  const tokenizer = loadTokenizer(config.tokenizer ?? folder);
  const template = await openChatTemplate(tokenizer, {
    ...(config.tokenizer === undefined && { folder }),
    template: config.template,
  });
  const model = loadDecoder(folder, { device, dtype: config.dtype });
  const opened = { model, device };
  const vocabulary = model.family.vocabulary(model.config);
  try {
    if (tokenizer.vocabSize > vocabulary)
      throw new TrainMoeError(
        'bad-config',
        `The tokenizer ${tokenizer.source} has ${tokenizer.vocabSize} tokens, but the model ${config.model} only ${vocabulary}; give the model's own.`,
      );
    const { context, cacheTokens, engine } = engineOf(config, opened);
    const { parallel, maxTokens, reasoning } = config;
    const most = parallel + config.queue;
    const driver = new Driver(engine, most);
    const name = config.name ?? basename(resolve(config.model));
    const can: Abilities = { tokenizer, template, context, parallel, most, cacheTokens, maxTokens, vocabulary };
    const how = { driver, tokenizer, name, reasoning };
    const { server, close } = httpServer(openAiRoutes(can, how, Math.floor(Date.now() / 1000)), {
      apiKey: config.apiKey,
      onEnd: (request) => onEvent({ kind: 'request', request }),
      onError: (error) => onEvent({ kind: 'failed', error }),
    });
    try {
      await listen(server, config);
    } catch (error) {
      engine.dispose();
      throw error;
    }
    const facts: ServeFacts = {
      ...{ url: urlOf(server.address() as AddressInfo), name, context, parallel, cacheTokens },
      ...{ device: device.name, deviceReason: reason, dtype: model.dtype, open: config.apiKey === undefined },
    };
    onEvent({ kind: 'listening', facts });
    let given = false;
    return {
      facts,
      get requests() {
        return driver.jobs;
      },
      async close({ now = false } = {}) {
        if (now) driver.cancelAll();
        await close(now);
        if (given) return;
        given = true;
        engine.dispose();
        disposeModel(model);
      },
    };
  } catch (error) {
    disposeModel(model);
    throw error;
  }
}

/** The engine, and what it has room for. @throws TrainMoeError `bad-config` when a request would not fit its cache */
function engineOf(config: ServeConfig, { model, device }: { readonly model: LoadedModel; readonly device: Device }) {
  const context = Math.min(config.context ?? CONTEXT, contextOf(model));
  const { parallel, dtype } = config;
  const cacheTokens = config.cacheTokens ?? cacheTokensFor(model, { context, parallel, dtype }, roomOf(device));
  if (cacheTokens < context)
    throw new TrainMoeError(
      'bad-config',
      `cacheTokens is ${cacheTokens}, less than the ${context} tokens that one request may have; raise it, or lower context.`,
    );
  const choices = () => serveChoices(model, { context, parallel, dtype, cacheTokens });
  const engine = advising(device, choices, () => new Engine(model, { cacheTokens, maxBatch: parallel }));
  return { context, cacheTokens, engine };
}

async function listen(server: Server, { host, port }: ServeConfig): Promise<void> {
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE')
      throw new TrainMoeError(
        'busy',
        `Port ${port} of ${host} is taken; end what listens there, or give another (--port).`,
      );
    throw new TrainMoeError('io', `Cannot listen on ${host}:${port}: ${(error as Error).message}.`, { cause: error });
  }
}

const urlOf = ({ address, family, port }: AddressInfo): string =>
  `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
