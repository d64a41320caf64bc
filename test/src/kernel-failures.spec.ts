import { simulatedWorld } from '@cloudos/guest-simulated';
import type { Kernel } from '@cloudos/kernel';
import { afterEach, describe, expect, it } from 'vitest';
import { bootSimulated, everything, type StackOptions, sharedMemoryLog } from './support/simulated-stack.ts';

const scale = (replicas: number) =>
  ({ slot: 'orchestrator', command: { type: 'Scale', workload: 'toy', replicas } }) as const;
/** What hangs is waited for so long; what does not takes a thousandth of it, also where a busy machine lets it wait. */
const deadlineMs = 500;
const limits = { slots: { restartDelayMs: 5, restartsMax: 2 }, policies: { deadlineMs } };

const running: Kernel[] = [];
afterEach(async () => {
  for (const kernel of running.splice(0)) await kernel.stop();
});
async function boot(options: StackOptions): Promise<Kernel> {
  const kernel = await bootSimulated({ limits, ...options });
  running.push(kernel);
  return kernel;
}
const pluginIn = (kernel: Kernel, slot: string) => kernel.plugins().find((view) => view.slot === slot);

describe.each([
  ['throws', { throwsOn: 'InstanceRequested' }, 'PLUGIN_FAILED', /stumbled over InstanceRequested/],
  ['never returns', { hangsOn: 'InstanceRequested' }, 'PLUGIN_TIMEOUT', /did not return in 500 ms/],
])('a policy that %s', (_, config, code, reason) => {
  it('takes down its slot and not the kernel, and is restarted a bounded number of times', async () => {
    const { log, plugin } = sharedMemoryLog();
    const kernel = await boot({
      logPlugin: plugin,
      world: `policy-${code}`,
      resources: { plugin: 'resources-toy', config },
    });
    await kernel.command(scale(1));
    await expect.poll(() => pluginIn(kernel, 'resources')).toMatchObject({ state: 'failed', attempt: 3, code });
    expect(pluginIn(kernel, 'resources')?.reason).toMatch(reason);
    expect(pluginIn(kernel, 'orchestrator')).toMatchObject({ state: 'active' });
    await kernel.command(scale(2)); // the rest goes on
    const failures = (await everything(log)).filter(({ type }) => type === 'PluginFailed').map(({ data }) => data);
    expect(failures).toHaveLength(3);
    expect(failures[0]).toMatchObject({
      slot: 'resources',
      plugin: 'resources-toy',
      code,
      attempt: 1,
      restartAt: expect.any(Number),
    });
    expect(failures[2]).not.toHaveProperty('restartAt');

    // a sound one is swapped in and continues from the log
    await kernel.swap({ slot: 'resources', plugin: 'resources-toy', config: {} });
    await expect
      .poll(async () => (await kernel.view()).instances.map(({ state }) => state))
      .toEqual(['ready', 'ready']);
  });
});

describe('a swap', () => {
  it('of a policy leaves guests alone and is in force after a restart', async () => {
    const { log, plugin } = sharedMemoryLog();
    const kernel = await boot({ logPlugin: plugin, world: 'swap-policy' });
    await kernel.command(scale(3));
    await expect
      .poll(async () => (await kernel.view()).instances.filter(({ state }) => state === 'ready').length)
      .toBe(3);
    const pids = simulatedWorld('swap-policy')
      .guests()
      .map(({ pid }) => pid);
    const result = await kernel.swap({
      slot: 'orchestrator',
      plugin: 'orchestrator-toy',
      config: { throwsOn: 'NodeLost' },
    });
    expect(result).toMatchObject({ slot: 'orchestrator', from: 'orchestrator-toy', generation: 2 });
    await kernel.command(scale(5));
    await expect
      .poll(async () => (await kernel.view()).instances.filter(({ state }) => state === 'ready').length)
      .toBe(5);
    expect(
      simulatedWorld('swap-policy')
        .guests()
        .map(({ pid }) => pid),
    ).toEqual(expect.arrayContaining(pids));
    const types = (await everything(log)).map(({ type }) => type);
    expect(types.indexOf('SwapStarted')).toBeLessThan(types.indexOf('SwapCompleted'));
    await kernel.stop();

    const again = await boot({ logPlugin: plugin, world: 'swap-policy' });
    expect(pluginIn(again, 'orchestrator')).toMatchObject({ generation: 3 });
    const claims = (await everything(log)).filter(
      ({ type, stream }) => type === 'StreamClaimed' && stream === 'orchestrator',
    );
    expect(claims.map(({ data }) => (data as { generation: number }).generation)).toEqual([1, 2, 3]);
  });

  it.each([
    ['throws while it catches up', { throwsOn: 'InstanceRequested' }, 'PLUGIN_FAILED'],
    ['hangs while it catches up', { hangsOn: 'InstanceRequested' }, 'PLUGIN_TIMEOUT'],
    ['cannot be created', { throwsOn: 'create' }, 'PLUGIN_FAILED'],
    ['has a wrong configuration', { throwsOn: 7 }, 'PLUGIN_CONFIG_INVALID'],
  ])('to a successor that %s leaves the predecessor in charge', async (what, config, code) => {
    const { log, plugin } = sharedMemoryLog();
    const kernel = await boot({ logPlugin: plugin, world: `abort ${what}` });
    await kernel.command(scale(1));
    await expect(kernel.swap({ slot: 'resources', plugin: 'resources-toy', config })).rejects.toMatchObject({
      code: 'SWAP_ABORTED',
      details: { code },
    });
    const aborted = (await everything(log)).find(({ type }) => type === 'SwapAborted');
    expect(aborted?.data).toMatchObject({ slot: 'resources', code });
    expect(pluginIn(kernel, 'resources')).toMatchObject({ state: 'active' });
    await kernel.command(scale(2));
    await expect
      .poll(async () => (await kernel.view()).instances.map(({ state }) => state))
      .toEqual(['ready', 'ready']);
  });

  it('of a guest driver hands its guests over', async () => {
    const { log, plugin } = sharedMemoryLog();
    const world = simulatedWorld('swap-guest');
    const kernel = await boot({ logPlugin: plugin, world: 'swap-guest' });
    await kernel.command(scale(3));
    await expect
      .poll(async () => (await kernel.view()).instances.filter(({ state }) => state === 'ready').length)
      .toBe(3);
    const pids = world.guests().map(({ pid }) => pid);
    await kernel.swap({ slot: 'guest', plugin: 'guest-simulated', config: { world: 'swap-guest', seed: 2 } });
    expect((await everything(log)).filter(({ type }) => type === 'SwapCompleted')).toHaveLength(3); // one a node
    world.kill('toy-0'); // the successor tells of it
    await expect
      .poll(async () => (await kernel.view()).instances.map(({ state }) => state))
      .toEqual(['exited', 'ready', 'ready']);
    expect(world.guests().map(({ pid }) => pid)).toEqual(pids);
  });

  it('to a driver of another runtime is aborted', async () => {
    const kernel = await boot({ logPlugin: sharedMemoryLog().plugin, world: 'swap-runtime' });
    const config = { world: 'swap-runtime', runtime: 'other' };
    await expect(kernel.swap({ slot: 'guest', plugin: 'guest-simulated', config })).rejects.toMatchObject({
      code: 'SWAP_ABORTED',
      details: { code: 'GUEST_UNSUPPORTED' },
    });
  });

  it('is refused for a slot that cannot be swapped, and for a plugin that is not there', async () => {
    const kernel = await boot({ logPlugin: sharedMemoryLog().plugin, world: 'swap-refused' });
    await expect(kernel.swap({ slot: 'log', plugin: 'log-shared' })).rejects.toMatchObject({ code: 'COMMAND_INVALID' });
    await expect(kernel.swap({ slot: 'resources', plugin: 'nothing' })).rejects.toMatchObject({
      code: 'PLUGIN_NOT_FOUND',
    });
    const mismatch = kernel.swap({ slot: 'resources', plugin: 'orchestrator-toy' });
    await expect(mismatch).rejects.toMatchObject({ code: 'SWAP_ABORTED', details: { code: 'SLOT_MISMATCH' } });
  });
});
