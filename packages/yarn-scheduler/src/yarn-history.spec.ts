import type { NewEvent, RecordedEvent, ResourcesCommand, SharedEvent } from '@cloudos/sdk';
import { SeededRandom } from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { yarnConfig } from './config.ts';
import { accessible } from './queues/queue-shares.ts';
import { yarnPolicy } from './yarn.policy.ts';
import type { YarnState } from './yarn-state.ts';

const gib = 1024 ** 3;
const steps = 200;
const labels = { gpu: { capacity: '100%', maximumCapacity: '60%' } };
const config = yarnConfig.parse({
  queues: [
    { path: 'root.a', capacity: '40%', maximumCapacity: '60%' },
    {
      path: 'root.a.x',
      capacity: '50%',
      maximumCapacity: '70%',
      minimumUserLimitPercent: 25,
      userLimitFactor: 2,
      labels,
    },
    { path: 'root.a.y', capacity: '50%', schedulingPolicy: 'drf', accessibleNodeLabels: [] },
    {
      path: 'root.b',
      capacity: '40%',
      maxParallelApps: 3,
      maximumApplications: 4,
      userLimitFactor: -1,
      schedulingPolicy: 'fair',
    },
    { path: 'root.c', capacity: '20%', maximumCapacity: { cpuMillis: 6_000 }, userLimitFactor: -1 },
  ],
  nodeLabels: {
    labels: [
      { name: 'gpu', exclusive: true },
      { name: 'ssd', exclusive: false },
    ],
  },
  placementRules: [
    { rule: 'specified', create: false },
    { rule: 'default', queue: 'root.c' },
  ],
  reservations: { afterMs: 5_000, nodesShareMax: 0.5 },
  locality: { nodeDelayMs: 2_000, rackDelayMs: 1_000 },
});

/** A history of a small cluster by chance, in virtual time; the policy decides after each step. */
class History {
  readonly policy = yarnPolicy(config);
  state: YarnState = this.policy.initial();
  readonly log: RecordedEvent[] = [];
  readonly #random: SeededRandom;
  readonly #placed = new Map<string, string>();
  readonly #known = new Set<string>();
  now = 1_000_000;
  #requests = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    for (let at = 0; at < 6; at++) this.#join(at);
  }

  #below(bound: number): number {
    return this.#random.int(bound);
  }

  tell({ type, data }: NewEvent): void {
    const position = this.log.length;
    const meta = { producer: { plugin: 'history', generation: 1 }, schema: 1 };
    const event = { position, stream: 's', revision: position, id: '', type, time: this.now, data, meta };
    this.log.push(event);
    this.state = this.policy.evolve(this.state, event as SharedEvent);
    const { instance, node } = data as { instance: string; node: string };
    if (type === 'InstancePlaced') this.#placed.set(instance, node);
    if (type === 'GuestRemoved') {
      this.#placed.delete(instance);
      this.#known.delete(instance);
    }
  }

  settle(): void {
    for (let round = 0; round < 200; round++) {
      const { events, wakeAt } = this.policy.react(this.state, [], this.now);
      for (const event of events) this.tell(event);
      if (events.length === 0 && (wakeAt === undefined || wakeAt > this.now)) return;
    }
    throw new Error('the policy does not come to rest');
  }

  step(): void {
    this.now += this.#below(3_000);
    const dice = this.#below(100);
    if (dice < 45) this.#request();
    else if (dice < 75) this.#remove();
    else if (dice < 80) this.#command();
    else if (dice < 88) this.#join(this.#below(8));
    else if (dice < 92) this.#lose();
    this.settle();
  }

  #join(at: number): void {
    const label = [{}, {}, { 'node-label': 'gpu' }, { 'node-label': 'ssd' }][at % 4]!;
    this.tell({
      type: 'NodeJoined',
      data: {
        node: `n${at}`,
        capacity: {
          cpuMillis: 1_000 * (2 + this.#below(6)),
          memoryBytes: gib * (2 + this.#below(14)),
          diskBytes: 0,
          pids: 0,
        },
        attributes: { rack: `r${at % 3}`, ...label },
        runtimes: [{ name: 'zones', version: '1', features: {} }],
      },
    });
  }

  #lose(): void {
    const node = `n${this.#below(8)}`;
    if (this.state.cluster.nodes.slotOf(node) < 0) return;
    this.tell({ type: 'NodeLost', data: { node, reason: 'chance' } });
    for (const [instance, where] of [...this.#placed]) {
      if (where !== node) continue;
      this.#placed.delete(instance);
      this.#known.delete(instance);
    }
  }

  #request(): void {
    const app = this.#below(9);
    const wish = { scope: ['node', 'rack'][this.#below(2)]!, tags: ['t0'], min: 1, required: false };
    for (let count = 1 + this.#below(4); count > 0; count--) {
      const instance = `i${this.#requests++}`;
      this.#known.add(instance);
      const data = {
        instance,
        workload: `w${app}`,
        revision: 1,
        requests: {
          cpuMillis: 500 * (1 + this.#below(8)),
          memoryBytes: gib * (1 + this.#below(4)),
          diskBytes: 0,
          pids: 0,
        },
        priority: [10, 100, 300][this.#below(3)]!,
        owner: ['a/x', 'a/x', 'a/y', 'b', 'b', 'b', 'b', 'b', 'nowhere'][app]!,
        user: `u${app % 3}`,
        ...(app < 4 && { tags: [`t${app}`] }),
        ...(this.#below(6) === 0 && { placement: [wish] }),
        ...(this.#below(6) === 0 && {
          constraints: [{ attribute: 'node-label', operator: 'in', values: [['gpu', 'ssd'][this.#below(2)]!] }],
        }),
      };
      this.tell({ type: 'InstanceRequested', data });
    }
  }

  #remove(): void {
    const names = [...this.#known];
    const instance = names[this.#below(Math.max(1, names.length))];
    if (instance === undefined) return;
    this.tell({ type: 'InstanceWithdrawn', data: { instance, reason: '', drainMs: 0, graceMs: 0 } });
    const node = this.#placed.get(instance);
    if (node === undefined) this.#known.delete(instance);
    else this.tell({ type: 'GuestRemoved', data: { instance, node } });
  }

  #command(): void {
    const commands: ResourcesCommand[] = [
      { type: 'CordonNode', node: 'n1', reason: '' },
      { type: 'UncordonNode', node: 'n1' },
      { type: 'SetQuota', owner: 'b', limit: { cpuMillis: 4_000 } },
      { type: 'RemoveQuota', owner: 'b' },
      { type: 'SetOwnerState', owner: 'a', state: 'stopped' },
      { type: 'SetOwnerState', owner: 'a', state: 'running' },
      { type: 'Configure', config: { ...config, candidates: 1 + this.#below(4) } },
    ];
    const answer = this.policy.decide(this.state, commands[this.#below(commands.length)]!, this.now);
    if ('events' in answer) for (const event of answer.events) this.tell(event);
  }
}

/** Sums made anew from instances and reservations, to hold those that were kept against. */
function usedByQueue({ cluster, applications, partitions, reservations, tree }: YarnState): Record<string, number[]> {
  const used = new Map([...tree.queues].map((queue) => [queue, queue.used.map(() => 0)]));
  const add = (workload: string, slot: number, cpu: number, memory: number) => {
    for (let queue = applications.get(workload)?.queue; queue; queue = queue.parent) {
      const sums = used.get(queue)!;
      sums[2 * partitions.of(slot)]! += cpu;
      sums[2 * partitions.of(slot) + 1]! += memory;
    }
  };
  for (const record of cluster.instances.values()) {
    if (record.slot >= 0) add(record.workload.name, record.slot, record.shape.cpu, record.shape.memory);
  }
  for (const [record, slot] of reservations) add(record.workload.name, slot, record.shape.cpu, record.shape.memory);
  return Object.fromEntries([...used].map(([queue, sums]) => [queue.path, [...sums]]));
}

describe.each([1, 2, 3, 6])('over a history by chance (seed %i)', (seed) => {
  it('nothing is placed beyond what queues and labels allow, and the sums are right', () => {
    const history = new History(seed);
    for (let step = 0; step < steps; step++) {
      const before = history.log.length;
      const usedBefore = new Map([...history.state.tree.queues].map(({ path, used }) => [path, [...used]]));
      history.step();
      const { state } = history;
      state.shares();
      expect(Object.fromEntries([...state.tree.queues].map(({ path, used }) => [path, [...used]]))).toEqual(
        usedByQueue(state),
      );
      const placed = history.log.slice(before).filter(({ type }) => type === 'InstancePlaced');
      for (const { data } of placed) checkPlacement(state, (data as { instance: string }).instance);
      for (const queue of state.tree.queues) {
        for (const [at, amount] of queue.used.entries()) {
          // limits may have come down below what is used: then nothing more comes
          const most = Math.max(queue.maximum[at]!, usedBefore.get(queue.path)?.[at] ?? 0);
          if (!borrows(state, at)) expect([queue.path, at, amount <= most]).toEqual([queue.path, at, true]);
        }
      }
    }
    expect(history.log.filter(({ type }) => type === 'InstancePlaced').length).toBeGreaterThan(30);
  });

  it('a snapshot goes on as the state that it was made of', () => {
    const history = new History(seed);
    const { snapshot } = history.policy;
    for (let step = 0; step < steps; step++) {
      history.step();
      if (step % 20 !== 19) continue;
      const loaded = snapshot!.load(JSON.parse(JSON.stringify(snapshot!.save(history.state))));
      const later = history.now + 20_000;
      expect(history.policy.react(loaded, [], later)).toEqual(history.policy.react(history.state, [], later));
      expect(snapshot!.save(loaded)).toEqual(snapshot!.save(history.state));
      history.state = loaded;
    }
  });

  it('whoever is told to wait for a queue or a user finds room when everything else is gone', () => {
    const history = new History(seed);
    for (let step = 0; step < steps / 2; step++) history.step();
    for (const command of ['SetOwnerState', 'UncordonNode'] as const) {
      const given =
        command === 'SetOwnerState'
          ? { type: command, owner: 'a', state: 'running' as const }
          : { type: command, node: 'n1' };
      const answer = history.policy.decide(history.state, given, history.now);
      if ('events' in answer) for (const event of answer.events) history.tell(event);
    }
    for (let at = 0; at < 200; at++) {
      history.now += 10_000;
      history.settle();
      const leaving = [...history.state.cluster.instances.values()].find(({ slot }) => slot >= 0);
      if (!leaving) break;
      const node = history.state.cluster.nodes.facts[leaving.slot]!.id;
      history.tell({ type: 'GuestRemoved', data: { instance: leaving.id, node } });
    }
    history.settle();
    expect(history.state.reservations.size).toBe(0);
    const ofQueues = /^(queue limit|user limit|parallel applications|maximum applications|locality)$/;
    const stuck = [...history.state.cluster.instances.values()].filter(({ told }) => ofQueues.test(told));
    // alone in the cluster, only what is larger than its queue may be is left, and who waits for that to end
    const queueOf = (workload: string) => history.state.applications.get(workload)!.queue!;
    const tooLarge = stuck.filter(({ shape, workload }) => {
      const { cpu, memory } = shape;
      return labelOf({ shape }) !== undefined || queueOf(workload.name).limitedBy(0, cpu, memory) !== undefined;
    });
    for (const record of stuck.filter((each) => !tooLarge.includes(each))) {
      const before = tooLarge.filter(({ workload }) => queueOf(workload.name) === queueOf(record.workload.name));
      expect(record.told).toMatch(/^(parallel|maximum) applications$/);
      expect([record.id, before.length > 0]).toEqual([record.id, true]);
    }
  });
});

/** Idle nodes of a label that is not exclusive are lent beyond the maximum of queues. */
function borrows({ tree }: YarnState, at: number): boolean {
  return tree.exclusive[at >> 1] === false;
}

function labelOf(record: {
  shape: { requirement: { constraints: readonly { attribute: string; values: readonly string[] }[] } };
}) {
  return record.shape.requirement.constraints.find(({ attribute }) => attribute === 'node-label')?.values[0];
}

function checkPlacement(state: YarnState, instance: string): void {
  const record = state.cluster.instances.get(instance);
  if (!record || record.slot < 0) return; // gone in the same step
  const { tree, partitions, applications, cluster } = state;
  const label = tree.labels[partitions.of(record.slot)]!;
  const wanted = labelOf(record);
  if (wanted !== undefined) expect([instance, label]).toEqual([instance, wanted]);
  else expect([instance, label === 'gpu']).toEqual([instance, false]);
  const { queue } = applications.get(record.workload.name)!;
  if (wanted !== undefined) expect([instance, accessible(queue!, label)]).toEqual([instance, true]);
  for (const at of [0, 1]) {
    const index = record.slot * 4 + at;
    expect(cluster.nodes.used[index]!).toBeLessThanOrEqual(
      Math.max(cluster.nodes.capacity[index]!, cluster.nodes.used[index]! - 1),
    );
  }
}
