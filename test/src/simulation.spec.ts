import guestSimulated, { simulatedWorld } from '@cloudos/guest-simulated';
import hostSimulated, { simulatedHosts } from '@cloudos/host-simulated';
import type { AnyPlugin, SharedEvent } from '@cloudos/sdk';
import { SeededRandom, SimulatedCluster } from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { toyOrchestrator, toyResources } from './support/toy-policies.ts';

function cluster(seed: number, world: string): SimulatedCluster {
  simulatedWorld(world).reset();
  simulatedHosts(world).reset();
  const config = { world, startDelayMs: 20, stopDelayMs: 10 };
  return new SimulatedCluster({
    seed,
    plugins: [hostSimulated, guestSimulated, toyResources, toyOrchestrator] as AnyPlugin[],
    resources: 'resources-toy',
    orchestrator: 'orchestrator-toy',
    nodes: [
      {
        name: 'n',
        count: 4,
        host: { plugin: 'host-simulated', config: { world } },
        guests: [{ plugin: 'guest-simulated', config }],
      },
    ],
  });
}

/** Deploys, scales and removes at random while the kernel is killed at random moments; then lets it converge. */
async function history(
  seed: number,
  world: string,
): Promise<{ cluster: SimulatedCluster; wanted: number; deaths: number }> {
  const sim = cluster(seed, world);
  const random = new SeededRandom(seed).fork('history');
  let deaths = 0;
  let wanted = 0;
  for (let round = 0; round < 12; round++) {
    if (!(await sim.start(1 + random.int(500)))) {
      deaths++;
      continue;
    }
    const replicas = random.int(30);
    const scaled = sim.kernel.command({ slot: 'orchestrator', command: { type: 'Scale', workload: 'toy', replicas } });
    if (await sim.drive(scaled)) wanted = replicas;
    await sim.until(() => false, random.int(200));
    if (!sim.life.alive) deaths++;
    sim.kill();
  }
  await sim.start();
  const final = await sim.drive(
    sim.kernel.command({ slot: 'orchestrator', command: { type: 'Scale', workload: 'toy', replicas: 17 } }),
  );
  if (final) wanted = 17;
  const world_ = simulatedWorld(world);
  await sim.until(
    () =>
      world_.guests().filter(({ state }) => state === 'running').length === wanted && world_.guests().length === wanted,
    60_000,
  );
  await sim.stop();
  return { cluster: sim, wanted, deaths };
}

describe('a simulated cluster', () => {
  it('repeats itself byte for byte under the same seed, deaths included', async () => {
    const first = await (await history(7, 'twins')).cluster.bytes();
    const second = await (await history(7, 'twins')).cluster.bytes();
    expect(firstDifference(first, second)).toBeUndefined();
    expect(first.length).toBeGreaterThan(10_000);
    expect((await (await history(8, 'twins')).cluster.bytes()) === first).toBe(false);
  });

  it('converges to what was declared under any seed: nothing lost, placed twice, orphaned or decided again', async () => {
    const from = Number(process.env.CLOUDOS_SEED ?? Math.floor(Math.random() * 1e9));
    let deaths = 0;
    for (let seed = from; seed < from + 40; seed++) {
      const { cluster: sim, wanted, deaths: died } = await history(seed, 'many');
      deaths += died;
      const replay = `seed ${seed}: replay with CLOUDOS_SEED=${seed}`;
      const guests = simulatedWorld('many').guests();
      expect(
        guests.map(({ state }) => state),
        replay,
      ).toEqual(Array.from({ length: wanted }, () => 'running'));
      expect(repeated(await sim.events()), replay).toEqual([]);
    }
    console.log(`seeds ${from} to ${from + 39}: ${deaths} deaths`);
    expect(deaths).toBeGreaterThan(40);
  });
});

/** The first line in which two logs differ. */
function firstDifference(one: string, other: string): string | undefined {
  const [left, right] = [one.split('\n'), other.split('\n')];
  const at = left.findIndex((line, index) => line !== right[index]);
  return at < 0 && left.length === right.length ? undefined : `line ${at}: ${left[at]} / ${right[at]}`;
}

/** Decisions and outcomes that stand in the log twice. */
function repeated(events: readonly unknown[]): string[] {
  const seen = new Set<string>();
  const twice: string[] = [];
  for (const { type, data } of events as SharedEvent[]) {
    if (!['InstanceRequested', 'InstancePlaced', 'InstanceWithdrawn', 'GuestRemoved'].includes(type)) continue;
    const key = `${type} ${(data as { instance: string }).instance}`;
    if (seen.has(key)) twice.push(key);
    seen.add(key);
  }
  return twice;
}
