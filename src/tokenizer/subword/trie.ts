import { PairMap } from '../pairs.js';

/**
 * A prefix tree over UTF-8: walked along a text, it finds every token that begins at a place without making a string. Nodes are
 * whole numbers, 0 is the root, and -1 means that no token goes on this way.
 */
export class Trie {
  readonly #children: PairMap;
  readonly #ids: Int32Array; // [nodes] the id of the token that ends at a node, or -1
  readonly #utf8 = new TextEncoder();

  /** Of equal tokens the last counts. */
  constructor(tokens: readonly (readonly [token: string, id: number])[]) {
    const spelled = tokens.map(([token, id]) => [this.#utf8.encode(token), id] as const);
    const most = spelled.reduce((sum, [bytes]) => sum + bytes.length, 1);
    this.#children = new PairMap(tokens.length * 2);
    const ids = new Int32Array(most).fill(-1);
    let nodes = 1;
    for (const [bytes, id] of spelled) {
      let node = 0;
      for (const byte of bytes) {
        const child = this.#children.getOrSet(node, byte, nodes);
        if (child === nodes) nodes++;
        node = child;
      }
      ids[node] = id;
    }
    this.#ids = ids.slice(0, nodes);
  }

  /** The node one byte further. */
  step(node: number, byte: number): number {
    return this.#children.get(node, byte);
  }

  /** The node at the end of a text that starts at the root. */
  walk(text: string): number {
    let node = 0;
    for (const byte of this.#utf8.encode(text)) if (node >= 0) node = this.step(node, byte);
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
}
