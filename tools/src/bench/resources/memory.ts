import type { BenchOptions } from '../bench.ts';
import { DrivenPolicy, resourcesPolicy } from './driven-policy.ts';
import { perNode, place, type ResourcesBench, take } from './driving.ts';
import { nodesOf, requestsOf } from './mix.ts';

/** What the state takes: for nodes alone, then for each instance placed. */
export async function memory(about: ResourcesBench, options: BenchOptions): Promise<void> {
  const nodes = options.quick ? 500 : 10_000;
  options.progress(`${about.manager}: memory of ${nodes} nodes`);
  const policy = await resourcesPolicy(about.plugin, about.config ?? {});
  const empty = heapBytes();
  const driven = new DrivenPolicy(policy);
  for (const event of about.prepare ?? []) driven.give(event);
  for (const event of nodesOf(nodes)) driven.give(event);
  driven.settle();
  const withNodes = heapBytes();
  const requests = requestsOf(41, true);
  for (let step = 0; step < perNode; step++) place(driven, take(requests, nodes, about));
  const instances = driven.placed;
  const withInstances = heapBytes();
  driven.settle();
  for (const [name, value] of [
    ['node', (withNodes - empty) / nodes],
    ['instance', (withInstances - withNodes) / instances],
  ] as const) {
    options.report({
      name: `resources.${about.manager}.memory.${name}`,
      value,
      unit: 'B',
      bound: null,
      ratio: null,
      target: `reported (${instances} instances on ${nodes} nodes)`,
      met: null,
    });
  }
}

function heapBytes(): number {
  const { gc } = globalThis as { gc?: () => void };
  if (!gc) throw new Error('memory can be measured with --expose-gc only');
  gc();
  gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
