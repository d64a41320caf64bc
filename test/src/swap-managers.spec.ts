import type { Kernel } from '@cloudos/kernel';
import kubernetes from '@cloudos/orchestrator-kubernetes';
import borg from '@cloudos/resources-borg';
import mesos from '@cloudos/resources-mesos';
import yarn from '@cloudos/resources-yarn';
import type { RecordedEvent, SharedEvent } from '@cloudos/sdk';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { bootSimulated, everything, sharedMemoryLog } from './support/simulated-stack.ts';

const nodes = 1_000;
/** Every manager takes over from every other. */
const route = [
  'resources-yarn',
  'resources-mesos',
  'resources-borg',
  'resources-mesos',
  'resources-yarn',
  'resources-borg',
];
const standing = 2_000;
/** Instances of the workload whose owner may have ten cores, of two cores each. */
const capped = { replicas: 8, allowed: 5 };

let kernel: Kernel;
const command = (type: 'Apply' | 'Scale', some: object) =>
  kernel.command({ slot: 'orchestrator', command: { type, ...some } as never });
const deployment = (name: string, replicas: number, cpu: string, owner = 'default') =>
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
          containers: [
            { name: 'main', image: 'host:', command: ['sleep'], resources: { requests: { cpu, memory: '256Mi' } } },
          ],
        },
      },
    },
  });
const ready = async (workload: string) => {
  const { instances } = await kernel.view();
  return instances.filter((instance) => instance.workload === workload && instance.state === 'ready');
};
const until = (workload: string, count: number) =>
  vi.waitFor(async () => expect([workload, (await ready(workload)).length]).toEqual([workload, count]), {
    timeout: 40_000,
    interval: 100,
  });

beforeAll(async () => {
  kernel = await bootSimulated({
    logPlugin: sharedMemoryLog().plugin,
    given: [borg, mesos, yarn, kubernetes],
    world: 'swap-managers',
    nodes,
    resources: 'resources-borg',
    orchestrator: 'orchestrator-kubernetes',
  });
}, 60_000);
afterAll(() => kernel.stop());

describe(`swaps among resource managers under load, ${nodes} nodes`, () => {
  it('touch no running guest, lose no instance, place none twice, and keep what owners may have', async () => {
    await kernel.command({ slot: 'resources', command: { type: 'CordonNode', node: 'n-1', reason: 'kept out' } });
    await kernel.command({
      slot: 'resources',
      command: { type: 'SetQuota', owner: 'capped', limit: { cpuMillis: 10_000 } },
    });
    await command('Apply', { text: deployment('standing', standing, '500m') });
    await command('Apply', { text: deployment('capped', capped.replicas, '2', 'capped') });
    await until('default/standing', standing);
    await until('default/capped', capped.allowed);
    const before = await ready('default/standing');
    const from = kernel.log.head();

    let wave = 0;
    for (const plugin of route) {
      // load: one wave comes while the swap is under way, the one before goes
      const coming = command('Apply', { text: deployment(`wave-${++wave}`, 300, '250m') });
      const going = wave > 1 ? command('Scale', { workload: `default/wave-${wave - 1}`, replicas: 0 }) : undefined;
      const swapped = await kernel.swap({ slot: 'resources', plugin });
      expect(swapped.to).toBe(plugin);
      await Promise.all([coming, going]);
      await until(`default/wave-${wave}`, 300);
      expect([plugin, (await ready('default/capped')).length]).toEqual([plugin, capped.allowed]);
    }

    const after = await ready('default/standing');
    expect(after.map(whereabouts)).toEqual(before.map(whereabouts));
    const events = (await everything(kernel.log)) as SharedEvent[];
    expect(touched(events.slice(from + 1), new Set(before.map(({ instance }) => instance)))).toEqual([]);
    expect(placedTwice(events)).toEqual([]);
    expect(await ready('default/capped')).toHaveLength(capped.allowed);
    expect((await kernel.view()).instances.filter(({ node }) => node === 'n-1')).toEqual([]);
    expect(events.filter(({ type }) => type === 'InstancePreempted')).toEqual([]);
    // who waits does so with words, whoever is in charge
    const waiting = (await kernel.view()).instances.filter(
      ({ workload, node }) => workload === 'default/capped' && !node,
    );
    expect(waiting.map(({ state, reason }) => [state, typeof reason])).toEqual(
      Array.from({ length: capped.replicas - capped.allowed }, () => ['unplaceable', 'string']),
    );
    // and is placed when the owner may have more
    await kernel.command({
      slot: 'resources',
      command: { type: 'SetQuota', owner: 'capped', limit: { cpuMillis: 100_000 } },
    });
    await until('default/capped', capped.replicas);
  }, 58_000);
});

function whereabouts({
  instance,
  node,
  pid,
  attempt,
}: {
  instance: string;
  node?: string;
  pid?: number;
  attempt: number;
}) {
  return [instance, node, pid, attempt];
}

function touched(events: readonly RecordedEvent[], instances: ReadonlySet<string>): string[] {
  return events
    .filter(({ data }) => instances.has((data as { instance?: string } | null)?.instance ?? ''))
    .map(({ type, data }) => `${type} ${(data as { instance: string }).instance}`);
}

function placedTwice(events: readonly SharedEvent[]): string[] {
  const placed = new Set<string>();
  const twice: string[] = [];
  for (const { type, data } of events) {
    if (type !== 'InstancePlaced') continue;
    if (placed.has(data.instance)) twice.push(data.instance);
    placed.add(data.instance);
  }
  return twice;
}
