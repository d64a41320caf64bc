import {
  isRefusal,
  type NewEvent,
  type RecordedEvent,
  type ResourcesCommand,
  type ResourceVector,
  type SharedEvent,
} from '@cloudos/sdk';
import {
  guestRemoved,
  instanceRequested,
  instanceWithdrawn,
  nodeJoined,
  nodeLost,
  resources,
  SeededRandom,
} from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { type FrameworkEvents, privatePrefix } from './framework-events.ts';
import { mesosPolicy } from './mesos.policy.ts';
import type { MesosState } from './mesos-state.ts';

const gib = 1024 ** 3;
/** Little of everything, so that now one and now another is what is lacking. */
const capacity = { cpuMillis: 4_000, memoryBytes: 4 * gib, diskBytes: 20 * gib, pids: 60, custom: { gpu: 3 } };
const roles = ['a', 'a/x', 'a/y', 'b'];
const policy = mesosPolicy({ allocationIntervalMs: 100, offerTimeoutMs: 2_000, launchTimeoutMs: 1_500 });

/** A master with agents, roles, quotas, reservations and frameworks, to which things happen by chance. */
class History {
  state: MesosState = policy.initial();
  now = 0;
  #position = 0;
  #names = 0;
  readonly #random: SeededRandom;
  readonly #offers = new Map<string, { framework: string }>();
  readonly #launched: { workload: string; amounts: ResourceVector; node: string }[] = [];
  placed = 0;
  accepted = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    for (const node of ['n1', 'n2', 'n3']) this.give(nodeJoined(node, capacity));
    for (const framework of ['fw-1', 'fw-2']) this.#subscribe(framework);
  }

  give(event: NewEvent): void {
    const recorded = { ...event, position: this.#position++, time: this.now } as unknown as RecordedEvent;
    this.state = policy.evolve(this.state, recorded as SharedEvent);
    if (event.type === 'InstancePlaced') this.placed++;
    if (event.type !== `${privatePrefix}OffersMade`) return;
    for (const { offer, framework } of (event.data as FrameworkEvents['OffersMade']).offers) {
      this.#offers.set(offer, { framework });
    }
  }

  settle(check: () => void): void {
    for (let round = 0; round < 200; round++) {
      const { events, wakeAt } = policy.react(this.state, [], this.now);
      for (const event of events) {
        this.give(event);
        check();
      }
      if (events.length === 0 && (wakeAt === undefined || wakeAt > this.now)) return;
    }
    throw new Error('the policy does not come to rest');
  }

  step(): void {
    const random = this.#random;
    this.now += random.int(300);
    const dice = random.int(100);
    const role = roles[random.int(roles.length)]!;
    const node = `n${1 + random.int(3)}`;
    const some = this.#amounts();
    const instances = [...this.state.cluster.instances.values()];
    const one = instances[random.int(Math.max(1, instances.length))];
    if (dice < 30) this.give(this.#asked(role, some));
    else if (dice < 40 && one) this.give(instanceWithdrawn(one.id));
    else if (dice < 55 && one && one.slot >= 0)
      this.give(guestRemoved(one.id, this.state.cluster.nodes.facts[one.slot]!.id));
    else if (dice < 57) this.#command({ type: 'Reserve', owner: role, node, resources: some, count: 1 });
    else if (dice < 64) this.#command({ type: 'Unreserve', owner: role, node, reason: '' });
    else if (dice < 68)
      this.#command({ type: 'SetQuota', owner: role, limit: { cpuMillis: 1_000 * (1 + random.int(8)) } });
    else if (dice < 70) this.#command({ type: 'RemoveQuota', owner: role });
    else if (dice < 72) this.give(nodeLost(node));
    else if (dice < 76) this.give(nodeJoined(node, capacity));
    else if (dice < 79) this.#command({ type: random.int(2) ? 'CordonNode' : 'UncordonNode', node, reason: '' });
    else if (dice < 81) this.#subscribe(`fw-${1 + random.int(2)}`);
    else if (dice < 90) this.#answer();
    else this.#request();
  }

  #amounts(): ResourceVector {
    const random = this.#random;
    return resources({
      cpuMillis: 250 * (1 + random.int(6)),
      memoryBytes: (gib / 4) * random.int(6),
      diskBytes: gib * random.int(8),
      pids: random.int(20),
      ...(random.int(4) === 0 && { custom: { gpu: 1 + random.int(2) } }),
    });
  }

  #asked(role: string, amounts: ResourceVector): NewEvent {
    const instance = `i${this.#names++}`;
    const hostPorts = this.#random.int(5) === 0 ? { hostPorts: [8_000 + this.#random.int(2)] } : {};
    const { data } = instanceRequested(instance, { owner: role, workload: `${role}/w` });
    return { type: 'InstanceRequested', data: { ...data, requests: amounts, ...hostPorts } };
  }

  #subscribe(framework: string): void {
    const request = {
      framework,
      known: false,
      name: framework,
      user: 'u',
      roles: ['a', 'b'],
      failoverTimeoutMs: 1_000,
    };
    this.#command({ type: `${privatePrefix}Subscribe`, request });
  }

  /** An offer is accepted or declined, mostly one that is valid. */
  #answer(): void {
    const valid = [...this.#offers].filter(([each]) => this.state.frameworks.offers.has(each));
    const among = valid.length > 0 && this.#random.int(4) > 0 ? valid : [...this.#offers];
    const [id, offer] = among[this.#random.int(Math.max(1, among.length))] ?? [];
    if (!id || !offer) return;
    const amounts = this.#amounts();
    const node = this.state.frameworks.offers.get(id)?.data.node ?? '';
    const workload = `${offer.framework}/t${this.#names++}`;
    const tasks = [{ workload, resources: amounts }];
    const about = { framework: offer.framework, offers: [id], refuseMs: 200 };
    if (this.#random.int(4) === 0) return void this.#command({ type: `${privatePrefix}Decline`, request: about });
    const request = { ...about, operations: [{ type: 'LAUNCH', tasks }] };
    if (this.#command({ type: `${privatePrefix}Accept`, request })) this.accepted++;
    this.#launched.push({ workload, amounts, node });
  }

  /** A task that was launched, or was not, is requested. */
  #request(): void {
    const [task] = this.#launched.splice(this.#random.int(Math.max(1, this.#launched.length)), 1);
    if (!task) return;
    const { workload, amounts, node } = task;
    const user = workload.slice(0, workload.indexOf('/'));
    this.give(instanceRequested(`i${this.#names++}`, { ...amounts, owner: 'a', user, workload, node: node || 'n1' }));
  }

  #command(command: ResourcesCommand): boolean {
    const answer = policy.decide(this.state, command, this.now);
    if (isRefusal(answer)) return false;
    for (const event of answer.events) this.give(event);
    return true;
  }
}

/** What instances, offers and launches hold of an agent: of each resource, and which ports. */
function heldOn({ cluster, frameworks }: MesosState, slot: number) {
  const sums = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0, gpu: 0 };
  const ports: number[] = [];
  for (const { shape } of cluster.nodes.facts[slot]!.instances) {
    sums.cpuMillis += shape.cpu;
    sums.memoryBytes += shape.memory;
    sums.diskBytes += shape.disk;
    sums.pids += shape.pids;
    sums.gpu += shape.custom.find(([name]) => name === 'gpu')?.[1] ?? 0;
    ports.push(...shape.hostPorts);
  }
  for (const { amounts } of frameworks.heldOn(slot) ?? []) {
    const { custom, ...plain } = amounts.vector;
    for (const name of ['cpuMillis', 'memoryBytes', 'diskBytes', 'pids'] as const) sums[name] += plain[name];
    sums.gpu += custom?.gpu ?? 0;
  }
  return { sums, ports };
}

/** Fails where an agent holds more of anything than it has, or a port twice. */
function checkAgents(state: MesosState): void {
  const most = { ...capacity, gpu: capacity.custom.gpu };
  for (const [slot, facts] of state.cluster.nodes.facts.entries()) {
    if (facts.state !== 'ready') continue;
    const { sums, ports } = heldOn(state, slot);
    for (const name of ['cpuMillis', 'memoryBytes', 'diskBytes', 'pids', 'gpu'] as const) {
      if (sums[name] > most[name]) throw new Error(`${facts.id} holds ${sums[name]} ${name} of ${most[name]}`);
    }
    if (new Set(ports).size < ports.length) throw new Error(`${facts.id} has ports ${ports.join(', ')}`);
  }
}

describe('over a history by chance', () => {
  it.each([1, 2, 3, 4])('no agent is promised twice, and shares are what is held (seed %i)', (seed) => {
    const history = new History(seed);
    const check = () => checkAgents(history.state);
    for (let step = 0; step < 500; step++) {
      history.step();
      history.settle(check);
      if (step % 100 !== 99) continue;
      const all = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0, gpu: 0 };
      for (const slot of history.state.cluster.nodes.facts.keys()) {
        const { sums } = heldOn(history.state, slot);
        for (const name of Object.keys(all) as (keyof typeof all)[]) all[name] += sums[name];
      }
      const { custom, ...plain } = history.state.shares.root.allocated.vector;
      expect({ ...plain, gpu: custom?.gpu ?? 0 }).toEqual(all);
      const saved = JSON.parse(JSON.stringify(policy.snapshot!.save(history.state)));
      const loaded = policy.snapshot!.load(saved);
      expect(policy.react(loaded, [], history.now)).toEqual(policy.react(history.state, [], history.now));
      expect(loaded.shares.root.allocated.vector).toEqual(history.state.shares.root.allocated.vector);
    }
    expect(history.placed).toBeGreaterThan(10);
    expect(history.accepted).toBeGreaterThan(2);
  });
});
