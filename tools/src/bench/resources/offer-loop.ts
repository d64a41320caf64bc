import { Bundle, type ShareNode, ShareTree } from '@cloudos/resources-mesos';
import type { BenchOptions } from '../bench.ts';
import { median } from '../figures.ts';
import { processorSeconds } from './driving.ts';

const frameworks = 200;
/** Allocation cycles of one measurement: a single one by heaps is over in a few milliseconds. */
const cycles = { heaps: 20, sorting: 2 };

/** Offers of an allocation cycle a second: the sorter of resources-mesos, and one that sorts again for each offer. */
export function offerLoop(options: BenchOptions): void {
  const agents = options.quick ? 1_000 : 10_000;
  const [heaps, sorts]: [number[], number[]] = [[], []];
  // once before, so that the engine has compiled it
  withHeaps(agents);
  bySorting(agents);
  for (let round = 0; round < 3; round++) {
    options.progress(`mesos: offers of ${agents} agents to ${frameworks} frameworks, round ${round + 1} of 3`);
    heaps.push((agents * cycles.heaps) / withHeaps(agents));
    sorts.push((agents * cycles.sorting) / bySorting(agents));
  }
  const [value, bound] = [median(heaps), median(sorts)];
  options.report({
    name: `resources.mesos.offers.${frameworks}`,
    value,
    unit: 'offers/s',
    bound,
    ratio: value / bound,
    target: '>= 20 x sorting the frameworks for each offer, of processor time',
    met: options.quick ? null : value / bound >= 20,
  });
}

/** Agents differ, so that no two frameworks have the same share for long. */
function agentOf(at: number): Bundle {
  const cores = [16, 32, 64][at % 3]!;
  return Bundle.of({
    cpuMillis: cores * 1_000 - (at % 97),
    memoryBytes: cores * 2 ** 32 - (at % 89) * 2 ** 20,
    diskBytes: 2 ** 40,
    pids: 100_000,
  });
}

/** Seconds for that many cycles, each one offer of each agent to the framework whose turn it is. */
function withHeaps(agents: number): number {
  const tree = new ShareTree([]);
  for (let at = 0; at < agents; at++) tree.changeTotal(agentOf(at), 1);
  for (let at = 0; at < frameworks; at++) tree.want(tree.client('default', `fw-${at}`), true);
  const offers = Array.from({ length: agents }, (_, at) => agentOf(at));
  const startedAt = processorSeconds();
  for (let cycle = 0; cycle < cycles.heaps; cycle++) {
    for (const offer of offers) tree.charge(tree.next() as ShareNode, offer, 1);
  }
  return processorSeconds() - startedAt;
}

interface Client {
  readonly name: string;
  readonly allocated: Float64Array;
  share: number;
}

/** The same by sorting: what an allocator does that keeps its clients in order by sorting them when one has changed. */
function bySorting(agents: number): number {
  const clients: Client[] = Array.from({ length: frameworks }, (_, at) => ({
    name: `fw-${at}`,
    allocated: new Float64Array(4),
    share: 0,
  }));
  const total = new Float64Array(4);
  const offers = Array.from({ length: agents }, (_, at) => agentOf(at).plain);
  for (const offer of offers) for (let at = 0; at < 4; at++) total[at]! += offer[at]!;
  const startedAt = processorSeconds();
  for (const offer of Array.from({ length: cycles.sorting }, () => offers).flat()) {
    clients.sort((one, other) => one.share - other.share || (one.name < other.name ? -1 : 1));
    const { allocated } = clients[0]!;
    let share = 0;
    for (let at = 0; at < 4; at++) {
      allocated[at]! += offer[at]!;
      share = Math.max(share, allocated[at]! / total[at]!);
    }
    clients[0]!.share = share;
  }
  return processorSeconds() - startedAt;
}
