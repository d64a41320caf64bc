import type { EventData, NewEvent } from '@cloudos/sdk';

const gib = 2 ** 30;

/** Whole numbers that look like chance and repeat themselves for a seed, from 0 and below a bound (mulberry32). */
export function chance(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * below);
  };
}

/** One node in three has 16 cores, one 32, one 64; four or eight GiB a core. Ten zones, racks of 40. */
export function nodesOf(count: number): NewEvent<'NodeJoined', EventData<'NodeJoined'>>[] {
  return Array.from({ length: count }, (_, at) => {
    const cores = [16, 32, 64][at % 3]!;
    const capacity = {
      cpuMillis: cores * 1_000,
      memoryBytes: cores * (at % 7 < 5 ? 4 : 8) * gib,
      diskBytes: 1_000 * gib,
      pids: 100_000,
    };
    const attributes = {
      zone: `z${at % 10}`,
      rack: `r${Math.floor(at / 40)}`,
      arch: at % 10 === 3 ? 'arm64' : 'x86_64',
    };
    const runtimes = [{ name: 'simulated', version: '1', features: {} }];
    return { type: 'NodeJoined', data: { node: `node-${at}`, capacity, attributes, runtimes } };
  });
}

/** Thousandths of a core and GiB of memory that instances ask for; small ones are common. */
const sizes: readonly (readonly [cpuMillis: number, memory: number])[] = [
  ...([
    [100, 0.25],
    [100, 0.5],
    [200, 0.5],
    [250, 0.25],
    [250, 1],
    [300, 2],
  ] as const),
  ...([
    [400, 1],
    [500, 1],
    [500, 2],
    [500, 4],
    [750, 3],
    [1_000, 1],
  ] as const),
  ...([
    [1_000, 4],
    [1_000, 8],
    [1_500, 3],
    [1_500, 6],
    [2_000, 4],
    [2_000, 8],
  ] as const),
  ...([
    [2_000, 16],
    [3_000, 12],
    [4_000, 8],
    [4_000, 16],
    [6_000, 24],
    [8_000, 16],
  ] as const),
];

export type Request = EventData<'InstanceRequested'>;

/**
 * Requests job by job, without end: jobs of 1 to 200 instances (the logarithm evenly) in 24 sizes of 0.1 to 8 cores;
 * priorities 10, 100 and 300 as 5:3:2. Of the jobs that are bound 5 % ask for three of ten zones, 3 % for an
 * architecture, and 2 % keep their instances on different nodes.
 * @param bound whether some of them have constraints and rules about company
 */
export function* requestsOf(seed: number, bound: boolean): Generator<Request> {
  const random = chance(seed);
  for (let job = 0, instance = 0; ; job++) {
    // the smaller of two draws: half of the sizes make up three quarters of the instances
    const [cpuMillis, memory] = sizes[Math.min(random(sizes.length), random(sizes.length))]!;
    const workload = `default/job-${job}`;
    const common = {
      workload,
      revision: 1,
      requests: { cpuMillis, memoryBytes: memory * gib, diskBytes: random(4) === 0 ? 5 * gib : 0, pids: 50 },
      priority: [10, 10, 10, 10, 10, 100, 100, 100, 300, 300][random(10)]!,
      ...(bound && bindings(random, workload)),
    };
    const count = Math.ceil(200 ** (random(1_000) / 1_000));
    for (let at = 0; at < count; at++) yield { instance: `i-${instance++}`, ...common };
  }
}

function bindings(random: (below: number) => number, workload: string): Partial<Request> {
  const dice = random(100);
  if (dice < 5) {
    const first = random(10);
    const values = [0, 1, 2].map((step) => `z${(first + step) % 10}`);
    return { constraints: [{ attribute: 'zone', operator: 'in', values }] };
  }
  if (dice < 8) {
    const values = [random(3) === 0 ? 'arm64' : 'x86_64'];
    return { constraints: [{ attribute: 'arch', operator: 'in', values }] };
  }
  if (dice < 10) return { placement: [{ scope: 'node', tags: [`workload:${workload}`], max: 0, required: true }] };
  return {};
}
