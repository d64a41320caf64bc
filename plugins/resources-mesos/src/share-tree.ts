import { type Shape, width } from '@cloudos/placement';
import { Bundle } from './bundle.ts';
import { ShareHeap } from './share-heap.ts';

/** The child of a role that stands for the frameworks of the role itself, beside its sub-roles. */
const own = '.';

/** A role, the frameworks of one role together, or one framework in one role (a client). */
export class ShareNode {
  readonly path: string;
  readonly parent: ShareNode | undefined;
  readonly children = new Map<string, ShareNode>();
  /** Those of the children that want something. */
  readonly wanting = new ShareHeap();
  readonly allocated = new Bundle();
  /** Of its parent's share, relative to its siblings. */
  weight = 1;
  /** Dominant share by weight: the largest of its shares of the resources of the cluster. */
  share = 0;
  /** Place in the heap of its parent; -1 while it wants nothing. */
  at = -1;

  constructor(path: string, parent: ShareNode | undefined) {
    this.path = path;
    this.parent = parent;
  }
}

/**
 * Who is next by hierarchical dominant resource fairness: at each level of the tree of roles the one whose dominant
 * share, divided by its weight, is smallest (Ghodsi et al., NSDI 2011; Mesos, docs/roles.md and
 * master/allocator/mesos/sorter/drf). A heap for each level holds those that want something, so that an allocation
 * costs the depth of the tree times the logarithm of its width and nothing is ever sorted again. Ties go by name.
 */
export class ShareTree {
  readonly root = new ShareNode('', undefined);
  readonly #total = new Bundle();
  readonly #inverse = new Float64Array(width);
  readonly #excluded: ReadonlySet<string>;
  readonly #plainExcluded: readonly boolean[];
  readonly #roles = new Map<string, ShareNode>([['', this.root]]);
  #stale = false;

  /** @param excluded resources that do not count for fairness: `cpu`, `memory`, `disk`, `pids` or named ones */
  constructor(excluded: readonly string[]) {
    this.#excluded = new Set(excluded);
    this.#plainExcluded = ['cpu', 'memory', 'disk', 'pids'].map((name) => this.#excluded.has(name));
  }

  /** What the cluster has in all. */
  get total(): Bundle {
    return this.#total;
  }

  /** The cluster has that much more (or, by -1, less). Shares are worked out anew when they are next asked for. */
  changeTotal(amounts: Bundle, by: 1 | -1): void {
    this.#total.add(amounts, by);
    this.#stale = true;
  }

  role(path: string): ShareNode {
    const known = this.#roles.get(path);
    if (known) return known;
    const slash = path.lastIndexOf('/');
    const parent = this.role(slash < 0 ? '' : path.slice(0, slash));
    const node = new ShareNode(path, parent);
    parent.children.set(path.slice(slash + 1), node);
    this.#roles.set(path, node);
    return node;
  }

  /** Every role that was ever mentioned, by path. */
  get roles(): ReadonlyMap<string, ShareNode> {
    return this.#roles;
  }

  /** A framework in a role; the empty name stands for the orchestrators of the stack. */
  client(role: string, framework: string): ShareNode {
    const node = this.role(role);
    const frameworks = childOf(node, own);
    return childOf(frameworks, framework);
  }

  setWeight(role: string, weight: number): void {
    const node = this.role(role);
    node.weight = weight;
    this.#refresh(node);
  }

  chargeShape(client: ShareNode, shape: Shape, by: 1 | -1): void {
    for (let node: ShareNode | undefined = client; node; node = node.parent) {
      node.allocated.addShape(shape, by);
      this.#refresh(node);
    }
  }

  charge(client: ShareNode, amounts: Bundle, by: 1 | -1): void {
    for (let node: ShareNode | undefined = client; node; node = node.parent) {
      node.allocated.add(amounts, by);
      this.#refresh(node);
    }
  }

  /** The client wants something, or does not. */
  want(client: ShareNode, wants: boolean): void {
    if (wants === client.at >= 0) return;
    this.#settle();
    for (let node = client; node.parent; node = node.parent) {
      const { wanting } = node.parent;
      if (wants) {
        if (node.at >= 0) return;
        wanting.push(node);
      } else {
        wanting.remove(node);
        if (wanting.size > 0) return;
      }
    }
  }

  /** The client whose turn it is; undefined when nobody wants anything. */
  next(): ShareNode | undefined {
    this.#settle();
    let node = this.root;
    while (node.wanting.size > 0) node = node.wanting.top as ShareNode;
    return node === this.root ? undefined : node;
  }

  /** Dominant share of a role or client, its weight counted in. */
  shareOf(node: ShareNode): number {
    this.#settle();
    return node.share;
  }

  /**
   * Whether the one comes before the other: compared are the two branches that part, as the sorter does.
   * Equal ones come by name.
   */
  precedes(one: ShareNode, other: ShareNode): boolean {
    this.#settle();
    const [left, right] = [lineOf(one), lineOf(other)];
    let at = 0;
    while (left[at] === right[at] && at < left.length) at++;
    const [a, b] = [left[at], right[at]];
    if (!a || !b) return b !== undefined;
    return a.share < b.share || (a.share === b.share && a.path < b.path);
  }

  #refresh(node: ShareNode): void {
    if (this.#stale) return;
    node.share = this.#shareOf(node);
    if (node.at >= 0) node.parent!.wanting.moved(node);
  }

  #settle(): void {
    if (!this.#stale) return;
    this.#stale = false;
    for (let dimension = 0; dimension < width; dimension++) {
      const total = this.#total.plain[dimension]!;
      this.#inverse[dimension] = total > 0 && !this.#plainExcluded[dimension] ? 1 / total : 0;
    }
    this.#settleBelow(this.root);
  }

  #settleBelow(node: ShareNode): void {
    for (const child of node.children.values()) {
      child.share = this.#shareOf(child);
      this.#settleBelow(child);
    }
    node.wanting.rebuild();
  }

  #shareOf({ allocated, weight }: ShareNode): number {
    const { plain, custom } = allocated;
    let share = 0;
    for (let dimension = 0; dimension < width; dimension++) {
      const part = plain[dimension]! * this.#inverse[dimension]!;
      if (part > share) share = part;
    }
    if (custom) {
      for (const [name, amount] of custom) {
        const total = this.#total.amountOf(name);
        if (total > 0 && !this.#excluded.has(name)) share = Math.max(share, amount / total);
      }
    }
    return share / weight;
  }
}

function childOf(node: ShareNode, name: string): ShareNode {
  let child = node.children.get(name);
  if (!child) {
    child = new ShareNode(`${node.path}/${name}`, node);
    node.children.set(name, child);
  }
  return child;
}

function lineOf(node: ShareNode): ShareNode[] {
  const line: ShareNode[] = [];
  for (let at: ShareNode | undefined = node; at; at = at.parent) line.unshift(at);
  return line;
}
