import { addon, type GraphFacts } from '../native.js';
import type { Device } from './device.js';
import { keep, permanent, scope } from './scope.js';
import { tensorsIn } from './tree.js';

/** Work that was recorded once and can be done again, on what its inputs then hold. */
export interface Graph<T> {
  /** What the body returned. Its tensors keep their place in memory and get new values at every launch. */
  readonly result: T;
  readonly facts: GraphFacts;
  /** Does the work again. The device orders it behind what it was given before; nothing waits. */
  launch(): void;
  /** Frees the result and what the graph keeps. Twice is harmless. */
  dispose(): void;
}

/**
 * Runs `body` and records its ops, in one go: the first time counts. A GPU holds the record as one CUDA graph from the first
 * launch on; elsewhere the calls are made one by one, without JavaScript in between, and give the same bits.
 *
 * The ops are repeated with the memory, shapes and numbers they had. So what changes from launch to launch must be the content
 * of tensors that were made before and are written between launches; JavaScript's own part of `body` is not repeated.
 * @throws TrainMoeError `bad-argument` when body reads or writes tensors (write them before, read them after), uses another
 *   device, or records a graph itself.
 */
export function recordGraph<T>(on: Device, body: () => T): Graph<T> {
  let id = addon.beginGraph(on.index);
  let result: T;
  try {
    result = keep(permanent(() => scope(body)));
  } catch (error) {
    addon.destroyGraph(id);
    throw error;
  }
  addon.endGraph(id);
  return {
    result,
    get facts() {
      return addon.graphFacts(id);
    },
    launch: () => addon.launchGraph(id),
    dispose() {
      if (id === 0) return;
      for (const tensor of tensorsIn(result)) tensor.dispose();
      addon.destroyGraph(id);
      id = 0;
    },
  };
}

/**
 * True where launching recorded work pays: on GPUs, whose ops are shorter than their calls, and on CPUs, whose threads wait
 * while JavaScript comes to the next op. TRAIN_MOE_GRAPHS=0 turns it off everywhere, 1 turns it on in the emulator too.
 */
export function graphsPay(on: Device): boolean {
  const wish = process.env.TRAIN_MOE_GRAPHS;
  return wish === '1' || (wish !== '0' && on.kind !== 'emulator');
}

/**
 * Work of one shape that is done often: run as usual the first time (it may fill caches of its own then), recorded the second,
 * launched from the third on. The result belongs to this object and holds until the next run.
 */
export class Repeated<T> {
  private runs = 0;
  private graph: Graph<T> | undefined;
  private first: T | undefined;

  constructor(private readonly on: Device) {}

  /** Does the work. `body` is the same at every call: see recordGraph() for what may change in between. */
  run(body: () => T): T {
    this.runs++;
    if (this.runs === 1) {
      this.first = keep(permanent(() => scope(body)));
      return this.first;
    }
    if (this.graph) this.graph.launch();
    else {
      this.forgetFirst();
      this.graph = recordGraph(this.on, body);
    }
    return this.graph.result;
  }

  /** What the record is; undefined before the second run. */
  get facts(): GraphFacts | undefined {
    return this.graph?.facts;
  }

  dispose(): void {
    this.forgetFirst();
    this.graph?.dispose();
    this.graph = undefined;
    this.runs = 0;
  }

  private forgetFirst(): void {
    for (const tensor of tensorsIn(this.first)) tensor.dispose();
    this.first = undefined;
  }
}
