import type { Kernel } from '@cloudos/kernel';
import orchestratorKubernetes from '@cloudos/orchestrator-kubernetes';
import resourcesBorg from '@cloudos/resources-borg';
import resourcesSpread from '@cloudos/resources-spread';
import type { LogProvider } from '@cloudos/sdk';
import { afterEach, describe, expect, it } from 'vitest';
import { deployment } from './support/manifests.ts';
import { bootSimulated, everything, type StackOptions, sharedMemoryLog } from './support/simulated-stack.ts';

const running: Kernel[] = [];
afterEach(async () => {
  for (const kernel of running.splice(0)) await kernel.stop();
});

async function boot(logPlugin: StackOptions['logPlugin'], world: string, given: StackOptions['given'] = []) {
  const kernel = await bootSimulated({
    logPlugin,
    world,
    given: [resourcesBorg, orchestratorKubernetes, ...given],
    resources: 'resources-borg',
    orchestrator: 'orchestrator-kubernetes',
  });
  running.push(kernel);
  return kernel;
}

const apply = (kernel: Kernel, name: string, replicas: number) =>
  kernel.command({ slot: 'orchestrator', command: { type: 'Apply', text: deployment(name, replicas) } });

const allReady = (kernel: Kernel, count: number) =>
  expect.poll(async () => (await kernel.view()).instances.filter(({ state }) => state === 'ready').length).toBe(count);

/** Trims as far as the snapshots allow. */
async function trimAll(log: LogProvider): Promise<number> {
  const snapshots = await log.snapshots.list();
  const { first } = await log.trim(Math.min(...snapshots.map(({ position }) => position)) + 1);
  return first;
}

describe('a kernel on a trimmed log', () => {
  it('goes on as before, and says what it cannot tell any more', async () => {
    const { log, plugin } = sharedMemoryLog();
    const first = await boot(plugin, 'trimmed', [resourcesSpread]);
    await apply(first, 'web', 4);
    await allReady(first, 4);
    await first.swap({ slot: 'resources', plugin: 'resources-spread' });
    await first.stop();
    const before = await first.view();
    // The predecessor left a snapshot that is older than the swap: nobody loads it again.
    const stale = (await log.snapshots.list()).find(({ key }) => key.includes('resources-borg'));
    if (stale) await log.snapshots.remove(stale.key);
    const begin = await trimAll(log);
    expect(begin).toBeGreaterThan(20);

    const second = await boot(plugin, 'trimmed', [resourcesSpread]);
    await allReady(second, 4);
    expect(second.plugins().find(({ slot }) => slot === 'resources')).toMatchObject({ plugin: 'resources-spread' });
    expect((await second.view()).instances.map(({ instance, node }) => [instance, node])).toEqual(
      before.instances.map(({ instance, node }) => [instance, node]),
    );
    expect((await everything(log))[0]?.position).toBe(begin);
    await apply(second, 'web', 6);
    await allReady(second, 6);
    const old = await second.why(before.instances[0]!.instance);
    expect(old).toMatchObject({ summary: expect.stringContaining('is ready on'), steps: [] });
    await expect(second.view(begin - 2)).rejects.toMatchObject({ code: 'LOG_TRIMMED', details: { first: begin } });
    expect((await second.view(log.head())).instances).toHaveLength(6);
  });

  it('refuses a successor that would have to know what is gone, and keeps the predecessor', async () => {
    const { log, plugin } = sharedMemoryLog();
    const first = await boot(plugin, 'successor', [resourcesSpread]);
    await apply(first, 'web', 2);
    await allReady(first, 2);
    await first.stop();
    await trimAll(log);
    const second = await boot(plugin, 'successor', [resourcesSpread]);
    await expect(second.swap({ slot: 'resources', plugin: 'resources-spread' })).rejects.toMatchObject({
      code: 'SWAP_ABORTED',
      message: expect.stringMatching(/LOG_TRIMMED|that is kept/),
    });
    await apply(second, 'web', 3);
    await allReady(second, 3);
  });

  it('cannot be trimmed while a policy without snapshots needs every event', async () => {
    const { log, plugin } = sharedMemoryLog();
    const kernel = await bootSimulated({ logPlugin: plugin, world: 'pinned' });
    running.push(kernel);
    await kernel.command({ slot: 'orchestrator', command: { type: 'Scale', workload: 'toy', replicas: 2 } });
    await kernel.stop();
    await expect(log.trim(1)).rejects.toMatchObject({
      code: 'LOG_TRIM_REFUSED',
      details: { allowed: 0, snapshot: expect.stringContaining('toy') },
    });
  });
});
