import type { Queue } from '../queues/queue.ts';

type Pair = [cpu: number, memory: number];

/** By queue: what it ought to have, and what it has, what leaves taken off. */
export interface IdealAssignment {
  readonly ideal: ReadonlyMap<Queue, Readonly<Pair>>;
  readonly used: ReadonlyMap<Queue, Readonly<Pair>>;
}

/**
 * Divides a partition among the queues by what they are guaranteed and what they demand: everyone gets up to the
 * guarantee what it can use; what then is left goes to those who want more, in proportion to their guarantees. Each
 * resource for itself.
 * @param leaving by queue without children: what is about to be given back
 * @param pending by queue without children: what it asks for and did not get
 */
export function idealAssignment(
  root: Queue,
  partition: number,
  total: Readonly<Pair>,
  leaving: ReadonlyMap<Queue, Readonly<Pair>>,
  pending: ReadonlyMap<Queue, Readonly<Pair>>,
): IdealAssignment {
  const used = new Map<Queue, Pair>();
  const demand = new Map<Queue, Pair>();
  const ideal = new Map<Queue, Pair>();
  gather(root);
  ideal.set(root, [Math.min(total[0], demand.get(root)![0]), Math.min(total[1], demand.get(root)![1])]);
  divide(root);
  return { ideal, used };

  function gather(queue: Queue): void {
    const at = 2 * partition;
    const has: Pair = [0, 0];
    const wants: Pair = [0, 0];
    if (queue.isLeaf) {
      const gone = leaving.get(queue) ?? [0, 0];
      const asked = pending.get(queue) ?? [0, 0];
      for (const dimension of [0, 1] as const) {
        has[dimension] = queue.used[at + dimension]! - gone[dimension];
        wants[dimension] = has[dimension] + asked[dimension];
      }
    }
    for (const child of queue.children) {
      gather(child);
      for (const dimension of [0, 1] as const) {
        has[dimension] += used.get(child)![dimension];
        wants[dimension] += demand.get(child)![dimension];
      }
    }
    for (const dimension of [0, 1] as const) {
      wants[dimension] = Math.min(wants[dimension], queue.maximum[at + dimension]!);
    }
    used.set(queue, has);
    demand.set(queue, wants);
  }

  function divide(parent: Queue): void {
    const { children } = parent;
    if (children.length === 0) return;
    const given = children.map((): Pair => [0, 0]);
    for (const dimension of [0, 1] as const) {
      const guarantees = children.map((child) => child.guaranteed[2 * partition + dimension]!);
      const demands = children.map((child) => demand.get(child)![dimension]);
      const amounts = fill(ideal.get(parent)![dimension], guarantees, demands);
      for (const [index, amount] of amounts.entries()) given[index]![dimension] = amount;
    }
    for (const [index, child] of children.entries()) {
      ideal.set(child, given[index]!);
      divide(child);
    }
  }
}

/** Guarantees first, then the rest in proportion to them among those who are not satisfied. */
export function fill(amount: number, guarantees: readonly number[], demands: readonly number[]): number[] {
  const given = demands.map((wanted, index) => Math.min(wanted, guarantees[index]!));
  let left = amount - given.reduce((sum, each) => sum + each, 0);
  if (left < 0) return given.map((each) => (each * amount) / (amount - left));
  let open = demands.map((_, index) => index).filter((index) => demands[index]! > given[index]!);
  while (left > 1e-9 && open.length > 0) {
    const sum = open.reduce((total, index) => total + guarantees[index]!, 0);
    const before = left;
    for (const index of open) {
      const part = sum > 0 ? (before * guarantees[index]!) / sum : before / open.length;
      const more = Math.min(part, demands[index]! - given[index]!);
      given[index] = given[index]! + more;
      left -= more;
    }
    open = open.filter((index) => demands[index]! - given[index]! > 1e-9);
    if (before - left < 1e-9) {
      if (sum > 0 && open.some((index) => guarantees[index] === 0))
        open = open.filter((index) => guarantees[index] === 0);
      else break;
    }
  }
  return given;
}
