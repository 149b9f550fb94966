import { PairMap } from '../pairs.js';

/**
 * A prefix tree over UTF-16 units: walked along a text, it finds every token that begins at a place without making a string.
 * Nodes are whole numbers, 0 is the root, and -1 means that no token goes on this way.
 */
export class Trie {
  readonly #children: PairMap;
  #ids: Int32Array<ArrayBuffer>; // [nodes] the id of the token that ends at a node, or -1
  #nodes = 1;

  constructor(tokens: readonly (readonly [token: string, id: number])[]) {
    const units = tokens.reduce((sum, [token]) => sum + token.length, 1);
    this.#children = new PairMap(units);
    this.#ids = new Int32Array(units).fill(-1);
    for (const [token, id] of tokens) this.#ids[this.#add(token)] = id;
    this.#ids = this.#ids.slice(0, this.#nodes);
  }

  /** The node one UTF-16 unit further. */
  step(node: number, unit: number): number {
    return this.#children.get(node, unit);
  }

  /** The node at the end of a text that starts at the root. */
  walk(text: string): number {
    let node = 0;
    for (let i = 0; i < text.length && node >= 0; i++) node = this.step(node, text.charCodeAt(i));
    return node;
  }

  /** The id of the token that ends at this node, or -1. */
  idAt(node: number): number {
    return this.#ids[node]!;
  }

  /** The id of a token that is spelled so, or -1. */
  idOf(token: string): number {
    const node = this.walk(token);
    return node < 0 ? -1 : this.idAt(node);
  }

  #add(token: string): number {
    let node = 0;
    for (let i = 0; i < token.length; i++) {
      const child = this.#children.getOrSet(node, token.charCodeAt(i), this.#nodes);
      if (child === this.#nodes) this.#nodes++;
      node = child;
    }
    return node;
  }
}
