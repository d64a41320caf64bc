import type { NewEvent, SharedEvent } from '@cloudos/sdk';
import { describe, expect, test } from 'vitest';
import type { ResourcesSuite } from '../resources.conformance.ts';
import { joined, placements, type ResourcesHarness, requested, vector, withdrawn } from './resources-harness.ts';
import { comeToRest, RandomHistory } from './resources-history.ts';

const steps = 300;

/** Promises that hold over any history: by chance, with the seed in the name of the test. */
export function replayTests(suite: ResourcesSuite): void {
  const by = { company: suite.supports.company, usage: suite.lends };
  describe.each(suite.seeds)('over a history by chance (seed %i)', (seed) => {
    test('nothing is over-committed, placed twice or placed where it must not be', () => {
      const cluster = suite.harness();
      const history = new RandomHistory(cluster, seed, by);
      for (let step = 0; step < steps; step++) history.step();
      expect(cluster.log.filter(({ type }) => type === 'InstancePlaced').length).toBeGreaterThan(20);
    });
    test('at rest, nobody waits who could be placed', () => {
      const cluster = suite.harness();
      const history = new RandomHistory(cluster, seed, by);
      for (let step = 0; step < steps; step++) {
        history.step();
        if (step % 50 !== 49) continue;
        comeToRest(cluster);
        for (const instance of cluster.oracle.waiting()) {
          for (const node of cluster.oracle.nodes.keys()) {
            expect(cluster.oracle.obstacle(instance, node), `${instance} waits, ${node} could take it`).toBeDefined();
          }
        }
      }
    });
    test('the log alone gives the state: a restart repeats nothing and goes on the same', () => {
      const cluster = suite.harness();
      const history = new RandomHistory(cluster, seed, by);
      for (let step = 0; step < steps; step++) {
        history.step();
        if (step % 30 !== 29) continue;
        const other = suite.policy();
        const state = cluster.replay(other);
        expect(other.react(state, [], cluster.now).events).toEqual(react(cluster));
        cluster.settle();
        expect(other.react(cluster.replay(other), [], cluster.now).events).toEqual([]);
      }
    });
    test('react and decide leave the state as it is', () => {
      const cluster = suite.harness();
      const history = new RandomHistory(cluster, seed, by);
      const { snapshot } = cluster.policy;
      for (let step = 0; step < steps; step++) {
        history.step();
        if (step % 5 !== 4) continue;
        const before = snapshot?.save(cluster.state);
        const first = react(cluster);
        cluster.policy.decide(cluster.state, { type: 'DrainNode', node: 'n1', reason: '' }, cluster.now);
        expect(react(cluster)).toEqual(first);
        if (snapshot) expect(snapshot.save(cluster.state)).toEqual(before);
      }
    });
    test.runIf(suite.supports.snapshot)('a snapshot goes on as the state it was made of', () => {
      const cluster = suite.harness();
      const history = new RandomHistory(cluster, seed, by);
      for (let step = 0; step < steps; step++) {
        history.step();
        if (step % 20 !== 19) continue;
        const saved = JSON.parse(JSON.stringify(cluster.policy.snapshot!.save(cluster.state)));
        const loaded = suite.policy().snapshot!.load(saved);
        expect(cluster.policy.react(loaded, [], cluster.now).events).toEqual(react(cluster));
        cluster.resume(loaded);
      }
      comeToRest(cluster);
    });
    test('it takes over from another that placed at will', () => {
      const cluster = suite.harness();
      const history = new RandomHistory(cluster, seed, by);
      cluster.settle = () => placeFirstFit(cluster);
      for (let step = 0; step < steps; step++) history.step();
      const taken = suite.harness();
      for (const event of cluster.log) taken.append(event as NewEvent);
      const held = [...taken.oracle.instances].filter(([, { node }]) => node !== undefined).length;
      taken.settle();
      expect(held).toBeGreaterThan(0);
      comeToRest(taken);
      const rest = new RandomHistory(taken, seed + 1_000, by);
      for (let step = 0; step < steps / 3; step++) rest.step();
    });
  });

  test('events that do not concern it change nothing', () => {
    const cluster = suite.harness();
    cluster.give(joined('n1'), requested('a'));
    const state = cluster.state;
    const strange = { ...cluster.log[0]!, type: 'x-other-Thing', data: { instance: 'a' } } as unknown as SharedEvent;
    cluster.resume(cluster.policy.evolve(state, strange));
    expect(cluster.settle()).toEqual([]);
  });

  test('one call decides a bounded number, and the next goes on at once', () => {
    const cluster = suite.harness();
    const many = 20_000;
    const capacity = vector({ cpuMillis: 1e9, memoryBytes: 1e15, diskBytes: 1e15, pids: 1e9 });
    cluster.append(joined('n1', { capacity }));
    for (let n = 0; n < many; n++) cluster.append(requested(`i${n}`));
    const { events, wakeAt } = cluster.policy.react(cluster.state, [], cluster.now);
    expect(events.length).toBeGreaterThan(0);
    expect(events.length).toBeLessThan(many);
    expect(wakeAt).toBe(cluster.now);
    expect(Object.keys(placements(cluster.settle()))).toHaveLength(many);
    cluster.give(withdrawn('i0'));
  });
}

function react(cluster: ResourcesHarness): readonly NewEvent[] {
  return cluster.policy.react(cluster.state, [], cluster.now).events;
}

/** Another resource manager, the simplest: the first node with room, nothing else, no reasons. */
function placeFirstFit(cluster: ResourcesHarness): NewEvent[] {
  const placed: NewEvent[] = [];
  for (const instance of cluster.oracle.waiting()) {
    const node = [...cluster.oracle.nodes.keys()].find((name) => cluster.oracle.obstacle(instance, name) === undefined);
    if (node === undefined) continue;
    const event = { type: 'InstancePlaced', data: { instance, node } };
    cluster.append(event);
    placed.push(event);
  }
  return placed;
}
