import type { EventData } from '@cloudos/sdk';
import type { Cluster } from './cluster.ts';
import { describeRule, meets } from './company.ts';
import type { InstanceRecord } from './instance-record.ts';
import { describeConstraint, matches } from './requirement.ts';
import { describeAmount, dimensions, width } from './resource-vector.ts';
import type { Shape } from './shape.ts';

export type Reasons = EventData<'InstanceUnplaceable'>['reasons'];

/** What tells one list of reasons from another: which constraints stand in the way, not how many nodes of each. */
export function signatureOf(reasons: Reasons): string {
  return reasons.map(({ constraint }) => constraint).join(', ') || 'none';
}

/**
 * Why no node can take the instance now: per constraint how many nodes it rules out, in words. A node counts for every
 * constraint that it fails; lost nodes count as lost only, nodes that left not at all.
 */
export function explainUnplaceable(cluster: Cluster, record: InstanceRecord): Reasons {
  const { shape } = record;
  const tally = new Tally();
  let nodes = 0;
  for (const [slot, facts] of cluster.nodes.facts.entries()) {
    if (facts.state === 'left') continue;
    nodes++;
    if (facts.state === 'lost') {
      tally.add('lost', 'do not answer');
      continue;
    }
    weigh(cluster, shape, slot, tally);
    weighCompany(cluster, record, slot, tally);
  }
  const { node } = shape.demand;
  if (node !== undefined && !known(cluster, node)) {
    return [{ constraint: 'node', nodes, message: `node ${node}, which it must be placed on, is not there` }];
  }
  if (nodes === 0) return [{ constraint: 'nodes', nodes: 0, message: 'no node has joined' }];
  return tally.reasons(nodes);
}

function known(cluster: Cluster, node: string): boolean {
  const facts = cluster.nodes.facts[cluster.nodes.slotOf(node)];
  return facts !== undefined && facts.state !== 'left';
}

function weigh(cluster: Cluster, shape: Shape, slot: number, tally: Tally): void {
  const facts = cluster.nodes.facts[slot]!;
  const { node, runtime } = shape.demand;
  if (node !== undefined && facts.id !== node) tally.add('node', `are not ${node}, which it must be placed on`);
  if (facts.cordoned) tally.add('cordoned', 'are cordoned');
  if (runtime === undefined ? facts.runtimes.size === 0 : !facts.runtimes.has(runtime)) {
    tally.add('runtime', runtime === undefined ? 'have no runtime at all' : `do not have the runtime ${runtime}`);
  }
  for (const constraint of shape.requirement.constraints) {
    if (!matches(constraint, facts.attributes)) {
      tally.add(`attribute ${constraint.attribute}`, `do not meet ${describeConstraint(constraint)}`);
    }
  }
  for (let dimension = 0; dimension < width; dimension++) {
    const name = dimensions[dimension]!;
    const wanted = shape.amount(dimension);
    const free = cluster.nodes.free[slot * width + dimension]!;
    if (wanted > 0 && free < wanted) tally.short(name, wanted, free, facts.id);
  }
  for (const [name, wanted] of shape.custom) {
    const free = cluster.nodes.custom(name).freeOf(slot);
    if (free < wanted) tally.short(name, wanted, free, facts.id);
  }
  const held = cluster.nodes.heldPorts(slot, shape);
  if (held.length > 0) tally.add('ports', `have port ${shape.hostPorts.join(' or ')} taken`);
}

function weighCompany(cluster: Cluster, { kin, shape }: InstanceRecord, slot: number, tally: Tally): void {
  if (!cluster.company.binds(kin)) return;
  for (const bound of kin.rules) {
    if (!bound.rule.required || meets(bound, shape.requirement, slot)) continue;
    tally.add(`company per ${bound.rule.scope}`, `do not meet the rule: ${describeRule(bound.rule)}`);
  }
  for (const count of cluster.company.shunnersOf(kin)) {
    const value = count.scope.values[slot]!;
    if (value < 0 || count.present(value) === 0) continue;
    const text = `have somebody near who keeps away from ${count.tags.join(' and ')}`;
    tally.add(`company per ${count.scope.attribute}`, text);
  }
}

class Tally {
  readonly #rows = new Map<string, { nodes: number; text: string; most: number; on: string; resource: boolean }>();

  add(constraint: string, text: string): void {
    const row = this.#rows.get(constraint);
    if (row) row.nodes++;
    else this.#rows.set(constraint, { nodes: 1, text, most: 0, on: '', resource: false });
  }

  short(resource: string, wanted: number, free: number, node: string): void {
    const row = this.#rows.get(resource);
    if (!row) {
      const text = `have less than ${describeAmount(resource, wanted)} ${resource} free`;
      this.#rows.set(resource, { nodes: 1, text, most: free, on: node, resource: true });
      return;
    }
    row.nodes++;
    if (free <= row.most) return;
    row.most = free;
    row.on = node;
  }

  /** In a fixed order, so that the same reasons read the same. */
  reasons(nodes: number): Reasons {
    return [...this.#rows]
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([constraint, { nodes: ruledOut, text, most, on, resource }]) => ({
        constraint,
        nodes: ruledOut,
        message: `${ruledOut} of ${nodes} nodes ${text}${
          resource ? ` (most: ${describeAmount(constraint, Math.max(0, most))} on ${on})` : ''
        }`,
      }));
  }
}
