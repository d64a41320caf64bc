import type { BenchOptions } from '../bench.ts';
import { median } from '../figures.ts';
import { filled, type ResourcesBench } from './driving.ts';
import { FullScan } from './full-scan.ts';
import { nodesOf, type Request, requestsOf } from './mix.ts';

/**
 * Share of the capacity (the mean of cores and memory) in use when the first instance finds no place, without bounds
 * to attributes or company; beside it full-scan best fit on the same requests.
 */
export async function packing(about: ResourcesBench, options: BenchOptions): Promise<void> {
  const nodes = options.quick ? 200 : 1_000;
  const [own, scanned, most]: [number[], number[], number[]] = [[], [], []];
  for (let seed = 31; seed < (options.quick ? 33 : 36); seed++) {
    options.progress(`${about.manager}: packing ${nodes} nodes, seed ${seed}`);
    const requests = requestsOf(seed, false);
    const list = Array.from({ length: nodes * 60 }, () => requests.next().value as Request);
    own.push(shareOf(nodes, list, await untilRefused(about, nodes, list)));
    const scan = new FullScan(nodesOf(nodes).map(({ data }) => data));
    scanned.push(
      shareOf(
        nodes,
        list,
        list.findIndex((request) => scan.place(request) < 0),
      ),
    );
    most.push(shareOf(nodes, list, untilFull(nodes, list)));
  }
  const [value, bound] = [median(own), median(scanned)];
  options.report({
    name: `resources.${about.manager}.packing`,
    value: value * 100,
    unit: '%',
    bound: bound * 100,
    ratio: value / bound,
    target: `>= 0.98 of full-scan best fit (one large node would take ${(median(most) * 100).toFixed(1)} %)`,
    met: options.quick ? null : value / bound >= 0.98,
  });
}

async function untilRefused(about: ResourcesBench, nodes: number, list: readonly Request[]): Promise<number> {
  const driven = await filled(about, nodes);
  for (const [at, request] of list.entries()) {
    driven.give({ type: 'InstanceRequested', data: about.adapt ? about.adapt(request) : request });
    driven.settle();
    if (driven.unplaceable + driven.preempted > 0 || driven.placed <= at) return at;
  }
  return list.length;
}

/** As if all nodes were one: nothing can do better. */
function untilFull(nodes: number, list: readonly Request[]): number {
  let [cpu, memory] = [0, 0];
  for (const { data } of nodesOf(nodes)) {
    cpu += data.capacity.cpuMillis;
    memory += data.capacity.memoryBytes;
  }
  const at = list.findIndex(({ requests }) => {
    cpu -= requests.cpuMillis;
    memory -= requests.memoryBytes;
    return cpu < 0 || memory < 0;
  });
  return at < 0 ? list.length : at;
}

function shareOf(nodes: number, list: readonly Request[], placed: number): number {
  let [cpu, memory, allCpu, allMemory] = [0, 0, 0, 0];
  for (const { requests } of list.slice(0, placed)) {
    cpu += requests.cpuMillis;
    memory += requests.memoryBytes;
  }
  for (const { data } of nodesOf(nodes)) {
    allCpu += data.capacity.cpuMillis;
    allMemory += data.capacity.memoryBytes;
  }
  return (cpu / allCpu + memory / allMemory) / 2;
}
