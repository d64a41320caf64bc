import type { EventData, NewEvent, SharedEvent } from '@cloudos/sdk';
import { instancePlaced, instanceRequested, nodeCordoned, nodeJoined, SeededRandom } from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { yarnConfig } from './config.ts';
import { gib, node, placed, spec } from './yarn.fixture.ts';
import { yarnPolicy } from './yarn.policy.ts';

const queues = [
  { path: 'root.a', capacity: '50%', maximumCapacity: '70%', minimumUserLimitPercent: 50, userLimitFactor: 1.2 },
  { path: 'root.b', capacity: '50%', userLimitFactor: -1 },
];
const settings = { reservations: { afterMs: 4_000, nodesShareMax: 0.4 } };
const classes = yarnPolicy(yarnConfig.parse({ queues, ...settings }));
/** A limit that is never reached: applications are looked at one by one because of it. */
const oneByOne = yarnPolicy(
  yarnConfig.parse({ queues: [{ path: 'root', maxParallelApps: 1_000_000 }, ...queues], ...settings }),
);

/** Both policies over one log, which is that of the first. */
class Pair {
  readonly #states = [classes.initial(), oneByOne.initial()] as const;
  readonly #told = new Set<string>();
  #position = 0;
  now = 1_000_000;
  readonly running: { readonly instance: string; readonly node: string }[] = [];
  placements = 0;

  give(...events: readonly NewEvent[]): void {
    for (const event of events) {
      const at = { position: this.#position, revision: this.#position++, id: '', stream: '', time: this.now };
      const recorded = { ...at, ...event, meta: { producer: { plugin: 'spec', generation: 1 }, schema: 1 } };
      classes.evolve(this.#states[0], recorded as unknown as SharedEvent);
      oneByOne.evolve(this.#states[1], recorded as unknown as SharedEvent);
      if (event.type === 'InstancePlaced') this.running.push(event.data as { instance: string; node: string });
    }
  }

  /**
   * Decides until both are at rest; what they do must be the same. Which of several things they name that stand in the
   * way may differ: it depends on when in a round they look. Nobody may wait without having been told something.
   */
  settle(): void {
    for (let round = 0; round < 100; round++) {
      const { events } = classes.react(this.#states[0], [], this.now);
      const other = oneByOne.react(this.#states[1], [], this.now);
      expect(acts(events)).toEqual(acts(other.events));
      for (const { type, data } of events) {
        if (type === 'InstanceUnplaceable') this.#told.add((data as EventData<'InstanceUnplaceable'>).instance);
      }
      if (events.length === 0) {
        for (const { id, phase } of this.#states[0].cluster.instances.values()) {
          expect(phase !== 'pending' || this.#told.has(id)).toBe(true);
        }
        return;
      }
      this.placements += events.filter(({ type }) => type === 'InstancePlaced').length;
      this.give(...events);
    }
    throw new Error('no rest in 100 rounds');
  }
}

const acts = (events: readonly NewEvent[]) => events.filter(({ type }) => type !== 'InstanceUnplaceable');
function step(pair: Pair, random: SeededRandom, count: number): void {
  const dice = random.int(10);
  if (dice < 5) {
    const owner = ['a', 'b'][random.int(2)]!;
    const request = {
      owner,
      user: `u${random.int(3)}`,
      workload: `default/${owner}-${random.int(40)}`,
      priority: [10, 10, 20][random.int(3)]!,
      cpuMillis: [500, 1_000, 2_000, 7_000][random.int(4)]!,
      memoryBytes: gib,
    };
    const copies = 1 + random.int(3);
    pair.give(...Array.from({ length: copies }, (_, at) => instanceRequested(`i${count}-${at}`, request)));
  } else if (dice < 8 && pair.running.length > 0) {
    const [{ instance, node: on }] = pair.running.splice(random.int(pair.running.length), 1) as [Pair['running'][0]];
    pair.give({ type: 'InstanceWithdrawn', data: { instance, reason: 'done' } });
    pair.give({ type: 'GuestRemoved', data: { instance, node: on } });
  } else if (dice === 8) {
    const name = `n${random.int(6)}`;
    const away: NewEvent = { type: 'NodeUncordoned', data: { node: name } };
    pair.give(random.int(2) ? nodeCordoned(name) : away);
  } else {
    pair.now += random.int(6_000);
  }
}

describe('those who wait for the same', () => {
  it.each([1, 2, 3, 4, 5, 6])('are decided on as if each was looked at by itself (seed %i)', (seed) => {
    const random = new SeededRandom(seed);
    const pair = new Pair();
    for (let at = 0; at < 6; at++) pair.give(nodeJoined(`n${at}`, { cpuMillis: 8_000, memoryBytes: 16 * gib }));
    for (let count = 0; count < 150; count++) {
      step(pair, random, count);
      pair.settle();
    }
    expect(pair.placements).toBeGreaterThan(20);
  });

  it('are served in the order in which their applications were submitted', () => {
    const run = spec();
    const asked = (name: string) => instanceRequested(name, { cpuMillis: 1_000, workload: `default/${name}` });
    const all = ['a', 'b', 'c', 'd'];
    run.when(node('n1', 1), ...all.map(asked));
    for (const [at, name] of all.slice(0, 3).entries()) {
      expect(placed(run)).toEqual([name]);
      run.when({ type: 'GuestRemoved', data: { instance: name, node: 'n1' } }).then(instancePlaced(all[at + 1]!, 'n1'));
    }
  });
});
