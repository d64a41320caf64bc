import type { Kernel } from '@cloudos/kernel';
import kubernetes from '@cloudos/orchestrator-kubernetes';
import borg from '@cloudos/resources-borg';
import spread from '@cloudos/resources-spread';
import yarn from '@cloudos/resources-yarn';
import { apiVersion, definePlugin, type Policy, type ResourcesCommand, type ShadowView } from '@cloudos/sdk';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { bootSimulated, everything, sharedMemoryLog } from './support/simulated-stack.ts';

const running: Kernel[] = [];
let worlds = 0;
afterEach(async () => {
  for (const kernel of running.splice(0)) await kernel.stop();
});

/** Counts its calls; hangs or throws at a request of a workload of that name. */
const troubled = (how: 'throws' | 'hangs') =>
  definePlugin({
    name: `resources-${how}`,
    slot: 'resources',
    apiVersion,
    description: 'for tests',
    config: z.object({}),
    create: (): Policy<number, ResourcesCommand> => ({
      initial: () => 0,
      evolve(seen, { type, data }) {
        if (type !== 'InstanceRequested' || data.workload !== 'default/trouble') return seen + 1;
        if (how === 'throws') throw new Error('stumbled');
        for (;;);
      },
      react: () => ({ events: [] }),
      decide: () => ({ events: [] }),
    }),
  });

async function boot(nodes: number, resources: unknown = 'resources-borg'): Promise<Kernel> {
  const given = [borg, yarn, spread, kubernetes, troubled('throws'), troubled('hangs')];
  const kernel = await bootSimulated({
    logPlugin: sharedMemoryLog().plugin,
    given,
    world: `shadow-${worlds++}`,
    nodes,
    resources,
    orchestrator: 'orchestrator-kubernetes',
    limits: { policies: { deadlineMs: 1_000 } },
  });
  running.push(kernel);
  return kernel;
}
const deployment = (name: string, replicas: number, cpu = '500m', owner = 'default') =>
  JSON.stringify({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, annotations: { 'cloudos.io/owner': owner } },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: {
          terminationGracePeriodSeconds: 0,
          containers: [{ name: 'main', image: 'host:', command: ['sleep'], resources: { requests: { cpu } } }],
        },
      },
    },
  });
const apply = (kernel: Kernel, text: string) =>
  kernel.command({ slot: 'orchestrator', command: { type: 'Apply', text } });
const scale = (kernel: Kernel, workload: string, replicas: number) =>
  kernel.command({ slot: 'orchestrator', command: { type: 'Scale', workload, replicas } });
/** The shadow, when it has seen everything and what is expected of it is so. */
const shadowOf = (kernel: Kernel, expected: (view: ShadowView) => void) =>
  vi.waitFor(() => {
    const [view] = kernel.shadows();
    expect(view!.position).toBe(kernel.log.head());
    expected(view!);
    return view!;
  }, 60_000);
const placedReally = (kernel: Kernel, count: number) =>
  vi.waitFor(async () => {
    const { instances } = await kernel.view();
    expect(instances.filter(({ state }) => state === 'ready')).toHaveLength(count);
  }, 60_000);

describe('a shadow', () => {
  it('takes over where the one in charge stands, then decides for itself, and acts on nothing', async () => {
    const kernel = await boot(4);
    await apply(kernel, deployment('before', 3));
    await placedReally(kernel, 3);
    const begun = await kernel.shadow({ plugin: 'resources-spread' });
    expect(begun).toMatchObject({ plugin: 'resources-spread', beside: 'resources-borg', state: 'running' });
    expect(begun.shadow.placed).toBe(3);
    await apply(kernel, deployment('after', 8));
    await placedReally(kernel, 11);
    const view = await shadowOf(kernel, ({ shadow }) => expect(shadow.placed).toBe(11));
    expect(view.real.placements).toBe(8);
    expect(view.shadow.placements).toBe(8);
    const { sameNode, otherNode, onlyReal, onlyShadow } = view.agreement;
    expect([sameNode + otherNode, onlyReal, onlyShadow]).toEqual([8, 0, 0]);
    // a guest that is really removed is removed where the shadow has it
    await scale(kernel, 'default/after', 2);
    await placedReally(kernel, 5);
    await shadowOf(kernel, ({ shadow }) => expect(shadow.placed).toBe(5));
    const producers = new Set((await everything(kernel.log)).map(({ meta }) => meta.producer.plugin));
    expect(producers).not.toContain('resources-spread');
  });

  it('shows where it would decide otherwise, and what that would cost', async () => {
    const kernel = await boot(4, 'resources-borg');
    const queues = [
      { path: 'root.default', capacity: '50%', maximumCapacity: '10%', userLimitFactor: -1 },
      { path: 'root.other', capacity: '50%' },
    ];
    await kernel.shadow({ plugin: 'resources-yarn', config: { queues } });
    await apply(kernel, deployment('web', 16, '1'));
    const total = (await kernel.view()).nodes.reduce((sum, { capacity }) => sum + capacity.cpuMillis, 0);
    const allowed = Math.floor(total / 10_000);
    await placedReally(kernel, 16);
    const view = await shadowOf(kernel, ({ shadow }) => expect(shadow.placed).toBe(allowed));
    expect(view.agreement.onlyReal).toBe(16 - allowed);
    expect(view.shadow.pending).toBe(16 - allowed);
    expect(view.differences[0]?.real).toBeDefined();
    expect(view.shadow.utilisation.cpu).toBeLessThan(view.real.utilisation.cpu);
    // an instance that waits in the shadow and is not wanted any more waits no longer
    await scale(kernel, 'default/web', 0);
    await placedReally(kernel, 0);
    await shadowOf(kernel, ({ shadow }) => expect([shadow.placed, shadow.pending]).toEqual([0, 0]));
  });

  it('hears what an operator tells the one in charge', async () => {
    const kernel = await boot(2);
    await kernel.shadow({ plugin: 'resources-spread' });
    await kernel.command({ slot: 'resources', command: { type: 'CordonNode', node: 'n-1', reason: '' } });
    await apply(kernel, deployment('web', 2));
    await placedReally(kernel, 2);
    const view = await shadowOf(kernel, ({ shadow }) => expect(shadow.placed).toBe(2));
    expect(view.agreement).toMatchObject({ sameNode: 2, otherNode: 0 });
  });

  it('has whom it preempts asked for anew', async () => {
    const kernel = await boot(1, 'resources-spread');
    const [only] = (await kernel.view()).nodes;
    const half = `${Math.floor(only!.capacity.cpuMillis / 2)}m`;
    await apply(kernel, deployment('b', 2, half, 'b'));
    await placedReally(kernel, 2);
    const queues = ['a', 'b'].map((name) => ({ path: `root.${name}`, capacity: '50%', userLimitFactor: -1 }));
    const preemption = { naturalTerminationFactor: 1, totalPreemptionPerRound: 1, maxWaitBeforeKillMs: 0 };
    await kernel.shadow({ plugin: 'resources-yarn', config: { queues, preemption } });
    await apply(kernel, deployment('a', 1, half, 'a'));
    // for real a waits; in the shadow it takes the place of one b, which waits then
    const view = await shadowOf(kernel, ({ shadow }) =>
      expect(shadow).toMatchObject({ placed: 2, pending: 1, preemptions: 1 }),
    );
    expect(view.real).toMatchObject({ placed: 2, pending: 1, preemptions: 0 });
    expect(view.agreement).toMatchObject({ onlyReal: 1, onlyShadow: 1 });
    expect(view.shadow.fairness).toBeGreaterThan(view.real.fairness);
  });

  it.each(['throws', 'hangs'] as const)('that %s ends alone', async (how) => {
    const kernel = await boot(2);
    await kernel.shadow({ plugin: `resources-${how}` });
    await apply(kernel, deployment('fine', 1));
    await placedReally(kernel, 1);
    await apply(kernel, deployment('trouble', 1));
    await placedReally(kernel, 2);
    const view = await vi.waitFor(() => {
      const [failed] = kernel.shadows();
      expect(failed?.state).toBe('failed');
      return failed!;
    }, 60_000);
    expect(view).toMatchObject(how === 'throws' ? { reason: 'stumbled' } : { code: 'PLUGIN_TIMEOUT' });
    await apply(kernel, deployment('still', 1));
    await placedReally(kernel, 3);
    expect(kernel.plugins().find(({ slot }) => slot === 'resources')?.state).toBe('active');
  });

  it('is promoted by a swap, one at a time and so many at once', async () => {
    const kernel = await boot(3);
    await kernel.shadow({ plugin: 'resources-spread' });
    await expect(kernel.shadow({ plugin: 'resources-spread' })).rejects.toMatchObject({ code: 'SHADOW_EXISTS' });
    await expect(kernel.shadow({ plugin: 'orchestrator-kubernetes' })).rejects.toMatchObject({ code: 'SLOT_MISMATCH' });
    await expect(kernel.shadow({ plugin: 'resources-yarn', config: { queus: [] } })).rejects.toMatchObject({
      code: 'PLUGIN_CONFIG_INVALID',
    });
    await kernel.swap({ slot: 'resources', plugin: 'resources-spread' });
    await apply(kernel, deployment('web', 3));
    await placedReally(kernel, 3);
    await shadowOf(kernel, ({ agreement }) => expect(agreement).toMatchObject({ sameNode: 3, otherNode: 0 }));
    expect(await kernel.endShadow('resources-spread')).toMatchObject({ plugin: 'resources-spread' });
    expect(kernel.shadows()).toEqual([]);
    await expect(kernel.endShadow('resources-spread')).rejects.toMatchObject({ code: 'SHADOW_NOT_FOUND' });
  });
});
