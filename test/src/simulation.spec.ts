import guestSimulated, { simulatedWorld } from '@cloudos/guest-simulated';
import hostSimulated, { simulatedHosts } from '@cloudos/host-simulated';
import orchestratorKubernetes from '@cloudos/orchestrator-kubernetes';
import resourcesBorg from '@cloudos/resources-borg';
import resourcesSpread from '@cloudos/resources-spread';
import type { AnyPlugin, OrchestratorCommand, SharedEvent } from '@cloudos/sdk';
import { SeededRandom, SimulatedCluster } from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { deployment } from './support/manifests.ts';

/** Seeds per run; CLOUDOS_SEED replays one of them. */
const seeds = process.env.CLOUDOS_SEED ? 1 : 30;
const nodes = 8;

/** Every third history has guests that crash or do not start. */
const troubled = (seed: number) => seed % 3 === 0;

function newCluster(seed: number, world: string): SimulatedCluster {
  simulatedWorld(world).reset();
  simulatedHosts(world).reset();
  const trouble = troubled(seed) ? { crashRate: 0.1, crashAfterMs: 200, startFailureRate: 0.05 } : {};
  const guests = { plugin: 'guest-simulated', config: { world, startDelayMs: 20, stopDelayMs: 10, ...trouble } };
  const host = { plugin: 'host-simulated', config: { world } };
  return new SimulatedCluster({
    seed,
    plugins: [hostSimulated, guestSimulated, resourcesBorg, resourcesSpread, orchestratorKubernetes] as AnyPlugin[],
    resources: seed % 2 ? 'resources-borg' : 'resources-spread',
    orchestrator: 'orchestrator-kubernetes',
    nodes: [{ name: 'n', count: nodes, host, guests: [guests] }],
  });
}

interface History {
  readonly cluster: SimulatedCluster;
  readonly deaths: number;
}

/** Deploys, scales, updates and removes at random while the kernel is killed at random moments; then converges. */
async function history(seed: number, world: string): Promise<History> {
  const cluster = newCluster(seed, world);
  const random = new SeededRandom(seed).fork('history');
  const wanted = new Map<string, number>();
  let deaths = 0;
  for (let round = 0; round < 10; round++) {
    if (await cluster.start(1 + random.int(900))) {
      const name = `w${random.int(4)}`;
      const replicas = random.int(50);
      if (await send(cluster, command(random, wanted, name, replicas))) {
        if (replicas === 0) wanted.delete(name);
        else wanted.set(name, replicas);
      }
      await cluster.until(() => false, random.int(300));
    }
    if (!cluster.life.alive) deaths++;
    cluster.kill();
  }
  await cluster.start();
  for (let at = 0; at < 4; at++) {
    await send(cluster, { type: 'Apply', text: deployment(`w${at}`, 50) });
  }
  await cluster.until(() => settled(cluster, world, 200), troubled(seed) ? 60_000 : 600_000);
  await cluster.until(() => false, 30_000);
  await cluster.stop();
  return { cluster, deaths };
}

function command(
  random: SeededRandom,
  wanted: ReadonlyMap<string, number>,
  name: string,
  replicas: number,
): OrchestratorCommand {
  if (replicas === 0) return wanted.has(name) ? { type: 'Remove', name } : { type: 'RemoveAll' };
  if (wanted.has(name) && random.chance(0.5)) return { type: 'Scale', workload: name, replicas };
  return { type: 'Apply', text: deployment(name, replicas, { env: { RELEASE: String(random.int(3)) } }) };
}

const send = (cluster: SimulatedCluster, command: OrchestratorCommand) =>
  cluster.drive(cluster.kernel.command({ slot: 'orchestrator', command }).catch((error) => void error));

function settled(cluster: SimulatedCluster, world: string, running: number): boolean {
  const guests = simulatedWorld(world).guests();
  return cluster.life.alive && guests.length === running && guests.every(({ state }) => state === 'running');
}

describe('a simulated cluster', () => {
  it('repeats itself byte for byte under the same seed, deaths included', async () => {
    const first = await (await history(7, 'twins')).cluster.bytes();
    const second = await (await history(7, 'twins')).cluster.bytes();
    expect(firstDifference(first, second)).toBeUndefined();
    expect(first.length).toBeGreaterThan(100_000);
    expect((await (await history(8, 'twins')).cluster.bytes()) === first).toBe(false);
  }, 300_000);

  it('converges on 200 declared instances under any seed: none lost, placed twice, orphaned or decided again', async () => {
    const from = Number(process.env.CLOUDOS_SEED ?? Math.floor(Math.random() * 1e9));
    let deaths = 0;
    for (let seed = from; seed < from + seeds; seed++) {
      const { cluster, deaths: died } = await history(seed, 'many');
      deaths += died;
      const replay = `replay with CLOUDOS_SEED=${seed}`;
      const guests = simulatedWorld('many').guests();
      const at = (state: string) => (troubled(seed) ? 'there' : state); // where guests crash, some always wait for a restart
      expect(tally(guests.map(({ state, spec }) => `${spec.workload} ${at(state)}`)), replay).toEqual(
        Object.fromEntries([0, 1, 2, 3].map((n) => [`default/w${n} ${at('running')}`, 50])),
      );
      const events = (await cluster.events()) as SharedEvent[];
      expect(repeated(events), replay).toEqual([]);
      expect(
        misplaced(
          events,
          guests.map(({ spec }) => [spec.instance, spec.node]),
        ),
        replay,
      ).toEqual([]);
    }
    console.log(`seeds ${from} to ${from + seeds - 1}: the kernel died ${deaths} times`);
    expect(deaths).toBeGreaterThan(seeds);
  }, 300_000);
});

function tally(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

/** The first line in which two logs differ. */
function firstDifference(one: string, other: string): string | undefined {
  const [left, right] = [one.split('\n'), other.split('\n')];
  const at = left.findIndex((line, index) => line !== right[index]);
  return at < 0 && left.length === right.length ? undefined : `line ${at}: ${left[at]} / ${right[at]}`;
}

/** Decisions and outcomes that stand in the log twice: some once for an instance, some once for each of its runs. */
function repeated(events: readonly SharedEvent[]): string[] {
  const once = new Set(['InstanceRequested', 'InstancePlaced', 'InstanceWithdrawn', 'GuestRemoved']);
  const oncePerRun = new Set(['GuestStarted', 'GuestExited', 'InstanceRestartOrdered']);
  const counts = tally(
    events.flatMap(({ type, data }) => {
      const { instance, attempt } = data as { instance: string; attempt?: number };
      if (oncePerRun.has(type)) return `${type} ${instance} ${attempt}`;
      return once.has(type) ? `${type} ${instance}` : [];
    }),
  );
  return Object.keys(counts).filter((key) => (counts[key] ?? 0) > 1);
}

/** Guests that run elsewhere than the log placed them. */
function misplaced(events: readonly SharedEvent[], guests: readonly (readonly [string, string])[]): string[] {
  const placed = new Map(
    events.flatMap(({ type, data }) => (type === 'InstancePlaced' ? [[data.instance, data.node]] : [])),
  );
  return guests.filter(([instance, node]) => placed.get(instance) !== node).map(([instance]) => instance);
}
