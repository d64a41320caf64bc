import type { BenchOptions } from '../bench.ts';
import { median } from '../figures.ts';
import { DrivenPolicy, resourcesPolicy } from './driven-policy.ts';
import { processorSeconds, type ResourcesBench } from './driving.ts';
import { nodesOf } from './mix.ts';

/**
 * What a decision costs while many wait: a guest of a full cluster ends, its place is taken. Each who waits is a
 * workload of its own, in twenty sizes; with the last of them it is four times as many.
 */
export async function waiting(about: ResourcesBench, options: BenchOptions): Promise<void> {
  const nodes = options.quick ? 50 : 1_000;
  const counts = options.quick ? [100, 400] : [5_000, 20_000];
  const costs: number[] = [];
  for (const count of counts) {
    options.progress(`${about.manager}: ${count} workloads wait on ${nodes} full nodes`);
    const value = await costOf(about, nodes, count);
    costs.push(value);
    options.report({
      name: `resources.${about.manager}.waiting.${count}`,
      value,
      unit: 'ms',
      bound: null,
      ratio: null,
      target: `reported (processor time until the place of a guest that ended is taken, ${nodes} nodes)`,
      met: null,
    });
  }
  const growth = costs[1]! / costs[0]!;
  options.report({
    name: `resources.${about.manager}.waiting.growth`,
    value: growth,
    unit: 'x',
    bound: 1,
    ratio: growth,
    target: 'cost of a decision with four times as many who wait <= 2 x',
    met: options.quick ? null : growth <= 2,
  });
}

const decisions = 60;

async function costOf(about: ResourcesBench, nodes: number, count: number): Promise<number> {
  const driven = new DrivenPolicy(await resourcesPolicy(about.plugin, about.config ?? {}), { remember: true });
  const joined = nodesOf(nodes);
  for (const event of [...(about.prepare ?? []), ...joined]) driven.give(event);
  driven.settle();
  const cores = joined.reduce((sum, { data }) => sum + data.capacity.cpuMillis / 1_000, 0);
  for (let at = 0; at < cores; at++) driven.give(request(`f${at}`, `default/f${at >> 6}`, 1_000));
  driven.settle();
  for (let at = 0; at < count; at++) driven.give(request(`w${at}`, `default/w${at}`, 1_000 + (at % 20) * 100));
  driven.settle();
  const times: number[] = [];
  for (let at = 0; at < decisions; at++) {
    const instance = `f${at * 7}`;
    driven.give({ type: 'InstanceWithdrawn', data: { instance, reason: 'done' } });
    driven.give({ type: 'GuestRemoved', data: { instance, node: driven.where!.get(instance) } });
    const startedAt = processorSeconds();
    driven.settle();
    times.push((processorSeconds() - startedAt) * 1_000);
  }
  return median(times);
}

function request(instance: string, workload: string, cpuMillis: number) {
  const requests = { cpuMillis, memoryBytes: 2 ** 28, diskBytes: 0, pids: 10 };
  return { type: 'InstanceRequested', data: { instance, workload, revision: 1, requests, priority: 10 } };
}
