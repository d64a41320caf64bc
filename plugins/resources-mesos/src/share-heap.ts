import type { ShareNode } from './share-tree.ts';

/** The siblings that want something, the one with the smallest share on top. Each knows its place (`at`). */
export class ShareHeap {
  readonly #nodes: ShareNode[] = [];

  get size(): number {
    return this.#nodes.length;
  }

  get top(): ShareNode | undefined {
    return this.#nodes[0];
  }

  push(node: ShareNode): void {
    node.at = this.#nodes.push(node) - 1;
    this.#rise(node);
  }

  remove(node: ShareNode): void {
    const { at } = node;
    const last = this.#nodes.pop()!;
    node.at = -1;
    if (last === node) return;
    this.#put(last, at);
    this.moved(last);
  }

  /** The share of the node has changed. */
  moved(node: ShareNode): void {
    const { at } = node;
    this.#rise(node);
    if (node.at === at) this.#sink(node);
  }

  /** Every share may have changed. */
  rebuild(): void {
    for (let at = (this.#nodes.length >> 1) - 1; at >= 0; at--) this.#sink(this.#nodes[at]!);
  }

  #rise(node: ShareNode): void {
    let { at } = node;
    while (at > 0) {
      const above = this.#nodes[(at - 1) >> 1]!;
      if (!before(node, above)) break;
      this.#put(above, at);
      at = (at - 1) >> 1;
    }
    this.#put(node, at);
  }

  #sink(node: ShareNode): void {
    const nodes = this.#nodes;
    let { at } = node;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= nodes.length) break;
      if (child + 1 < nodes.length && before(nodes[child + 1]!, nodes[child]!)) child++;
      if (!before(nodes[child]!, node)) break;
      this.#put(nodes[child]!, at);
      at = child;
    }
    this.#put(node, at);
  }

  #put(node: ShareNode, at: number): void {
    this.#nodes[at] = node;
    node.at = at;
  }
}

function before(one: ShareNode, other: ShareNode): boolean {
  return one.share < other.share || (one.share === other.share && one.path < other.path);
}
