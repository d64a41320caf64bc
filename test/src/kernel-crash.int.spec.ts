import type { SharedEvent } from '@cloudos/sdk';
import { SeededRandom } from '@cloudos/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { KernelProcess, readyInstances, until } from './support/kernel-process.ts';
import { takeStock } from './support/machine.ts';
import { deployment } from './support/manifests.ts';

const seed = Number(process.env.CLOUDOS_SEED ?? Math.floor(Math.random() * 1e9));
const isRoot = process.getuid?.() === 0;

function stackOf(node: Readonly<Record<string, unknown>>) {
  const orchestrator = { plugin: 'orchestrator-kubernetes', config: { restartBackoffMs: { initial: 50, max: 200 } } };
  return { name: 'crash', log: 'log-lmdb', resources: 'resources-borg', orchestrator, nodes: [node] };
}

const running: KernelProcess[] = [];
afterEach(async () => {
  for (const kernel of running.splice(0)) await kernel.dispose();
}, 300_000);

/** Deploys, scales and removes while the process is killed at random moments; then asks for the final state. */
async function killAtRandom(kernel: KernelProcess, rounds: number, replicasMax: number, final: readonly string[]) {
  const random = new SeededRandom(seed);
  for (let round = 0; round < rounds; round++) {
    kernel.begin();
    const deadline = Date.now() + 50 + random.int(2_500);
    const ready = kernel.ready().then(async (client) => {
      const name = `w${random.int(3)}`;
      const text = deployment(name, 1 + random.int(replicasMax), { command: ['sleep', '1000'] });
      const remove = random.chance(0.3);
      const command = remove ? ({ type: 'Remove', name } as const) : ({ type: 'Apply', text } as const);
      await client.command({ slot: 'orchestrator', command });
    });
    ready.catch(() => {}); // killed before it was ready, or the workload was not there
    await until(() => Date.now() >= deadline);
    await kernel.end('SIGKILL');
    await ready.catch(() => {});
  }
  const client = await kernel.start();
  for (const text of final) await client.command({ slot: 'orchestrator', command: { type: 'Apply', text } });
  return client;
}

function twice(events: readonly SharedEvent[]): string[] {
  const seen = new Set<string>();
  return events.flatMap(({ type, data }) => {
    if (!['InstanceRequested', 'InstancePlaced', 'InstanceWithdrawn', 'GuestRemoved'].includes(type)) return [];
    const key = `${type} ${(data as { instance: string }).instance}`;
    if (seen.has(key)) return [key];
    seen.add(key);
    return [];
  });
}

describe(`a kernel killed with SIGKILL at random moments (seed ${seed}: replay with CLOUDOS_SEED)`, () => {
  it('converges on 200 instances on simulated nodes', async () => {
    const kernel = new KernelProcess(
      stackOf({ name: 'n', count: 20, host: 'host-simulated', guests: ['guest-simulated'] }),
    );
    running.push(kernel);
    const final = ['w0', 'w1'].map((name) => deployment(name, 100, { command: ['sleep', '1000'] }));
    const client = await killAtRandom(kernel, 8, 100, [...final, deployment('w2', 0)]);
    await readyInstances(client, 'w0', 100);
    await readyInstances(client, 'w1', 100);
    await readyInstances(client, 'w2', 0);
    const events: SharedEvent[] = [];
    for await (const event of client.history()) events.push(event as SharedEvent);
    expect(twice(events)).toEqual([]);
    expect(events.map(({ position }) => position)).toEqual(events.map((_, at) => at));
  }, 300_000);

  it.skipIf(!isRoot)(
    'converges on real zones, and leaves nothing behind (needs root: run the tests as root)',
    async () => {
      const kernel = new KernelProcess(
        stackOf({ name: 'local', host: '@cloudos/host-linux', guests: ['@cloudos/guest-zones'] }),
      );
      const before = takeStock(kernel.stateDir);
      running.push(kernel);
      const final = ['w0', 'w1'].map((name) => deployment(name, 3, { command: ['sleep', '1000'] }));
      const client = await killAtRandom(kernel, 6, 4, [...final, deployment('w2', 0)]);
      const instances = [...(await readyInstances(client, 'w0', 3)), ...(await readyInstances(client, 'w1', 3))];
      await readyInstances(client, 'w2', 0);
      for (const { pid } of instances) expect(() => process.kill(pid ?? -1, 0)).not.toThrow();
      expect(new Set(instances.map(({ pid }) => pid)).size).toBe(6);
      expect(takeStock(kernel.stateDir).controlGroups).not.toEqual([]);
      const events: SharedEvent[] = [];
      for await (const event of client.history()) events.push(event as SharedEvent);
      expect(twice(events)).toEqual([]);
      expect(await kernel.downUnread()).toBe(0); // nobody reads what it prints: it goes on all the same
      await until(() => !kernel.running);
      expect(takeStock(kernel.stateDir)).toEqual(before);
    },
    180_000,
  );
});
