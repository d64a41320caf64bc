import type { CloudosClient } from '@cloudos/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KernelProcess, readyInstances, until } from './support/kernel-process.ts';
import { get, Traffic, webManifest } from './support/web.ts';

const isRoot = process.getuid?.() === 0;
const stack = {
  name: 'swap',
  log: 'log-lmdb',
  resources: 'resources-borg',
  orchestrator: 'orchestrator-kubernetes',
  ingress: '@cloudos/ingress-proxy',
  nodes: [{ name: 'local', host: '@cloudos/host-linux', guests: ['@cloudos/guest-zones'] }],
};

describe.skipIf(!isRoot)('swaps under load on real zones (needs root: run the tests as root)', () => {
  const kernel = new KernelProcess(stack);
  let client: CloudosClient;
  let url: string;

  beforeAll(async () => {
    client = await kernel.start();
    const text = webManifest('web', 3, { release: 'one', port: 18_081 });
    await client.command({ slot: 'orchestrator', command: { type: 'Apply', text } });
    await readyInstances(client, 'web', 3);
    url = 'http://127.0.0.1:18081/';
    await until(async () => (await get(url).catch(() => undefined))?.status === 200);
  }, 300_000);
  afterAll(async () => {
    await kernel.dispose();
  }, 300_000);

  it('of every resource manager for every other, the orchestrator and the guest driver: no failed request, no guest touched', async () => {
    const pids = async () => (await readyInstances(client, 'web', 3)).map(({ instance, pid }) => [instance, pid]);
    const before = await pids();
    const traffic = new Traffic(url);
    const swaps = [
      ...['yarn', 'mesos', 'borg', 'mesos', 'yarn', 'borg', 'spread'].map((manager) => ({
        slot: 'resources',
        plugin: `resources-${manager}`,
      })),
      { slot: 'orchestrator', plugin: 'orchestrator-kubernetes' },
      { slot: 'guest', plugin: 'guest-zones' },
      { slot: 'host', plugin: 'host-linux' },
    ];
    for (const swap of swaps) {
      const { position } = await client.swap(swap);
      const [completed] = (await client.eventsPage({ from: position, limit: 1 })).events;
      expect(completed).toMatchObject({ type: 'SwapCompleted', data: { slot: swap.slot, to: swap.plugin } });
      const answered = traffic.answers.length;
      await until(() => traffic.answers.length > answered + 20);
    }
    await traffic.stop();
    expect(traffic.failures).toEqual([]);
    expect(await pids()).toEqual(before);

    // those in charge now do the work
    await client.command({ slot: 'orchestrator', command: { type: 'Scale', workload: 'web', replicas: 4 } });
    await readyInstances(client, 'web', 4);
    const page = await client.eventsPage({ direction: 'backwards', limit: 1, types: ['InstancePlaced'] });
    expect(page.events[0]?.meta.producer.plugin).toBe('resources-spread');
  }, 300_000);

  it('leave running guests to a kernel that was killed and started again, swaps in force', async () => {
    const before = (await readyInstances(client, 'web', 4)).map(({ instance, pid }) => [instance, pid]);
    await kernel.end('SIGKILL');
    client = await kernel.start();
    expect((await readyInstances(client, 'web', 4)).map(({ instance, pid }) => [instance, pid])).toEqual(before);
    expect((await client.plugins()).find(({ slot }) => slot === 'resources')).toMatchObject({
      plugin: 'resources-spread',
      state: 'active',
    });
  }, 300_000);
});
