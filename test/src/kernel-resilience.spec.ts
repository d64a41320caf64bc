import { simulatedWorld } from '@cloudos/guest-simulated';
import hostSimulated from '@cloudos/host-simulated';
import type { Kernel } from '@cloudos/kernel';
import { type AnyPlugin, CloudosError, definePlugin, hasCode } from '@cloudos/sdk';
import { throwError } from 'rxjs';
import { afterEach, describe, expect, it } from 'vitest';
import { bootSimulated, everything, type StackOptions, sharedMemoryLog } from './support/simulated-stack.ts';

const scale = (replicas: number) =>
  ({ slot: 'orchestrator', command: { type: 'Scale', workload: 'toy', replicas } }) as const;
const cordon = { slot: 'resources', command: { type: 'CordonNode', node: 'n-1', reason: '' } } as const;
const limits = { slots: { restartDelayMs: 5, restartsMax: 2 }, policies: { deadlineMs: 500, commandPatienceMs: 50 } };

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
const ready = async (kernel: Kernel) => (await kernel.view()).instances.filter(({ state }) => state === 'ready').length;
const resources = (config: object) => ({ resources: { plugin: 'resources-toy', config } });

describe('a policy', () => {
  it('that answers nothing loses its slot', async () => {
    const kernel = await boot({
      logPlugin: sharedMemoryLog().plugin,
      world: 'nothing',
      ...resources({ answersNothing: true }),
    });
    await expect.poll(() => pluginIn(kernel, 'resources')).toMatchObject({ state: 'failed', code: 'PLUGIN_FAILED' });
  });

  it('that is always due leaves the thread to others', async () => {
    const kernel = await boot({ logPlugin: sharedMemoryLog().plugin, world: 'due', ...resources({ alwaysDue: true }) });
    const startedAt = performance.now();
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(performance.now() - startedAt).toBeLessThan(30_000);
    expect(pluginIn(kernel, 'resources')).toMatchObject({ state: 'active' });
  });

  it('that hangs in a decision loses its slot, and the sender is told', async () => {
    const { log, plugin } = sharedMemoryLog();
    const kernel = await boot({ logPlugin: plugin, world: 'decide', ...resources({ hangsOn: 'decide' }) });
    await expect(kernel.command(cordon)).rejects.toMatchObject({ code: 'PLUGIN_TIMEOUT' });
    await expect.poll(async () => (await everything(log)).some(({ type }) => type === 'PluginFailed')).toBe(true);
  });

  it.each(['save', 'load'])('whose snapshot fails to %s is rebuilt from the log', async (step) => {
    const { plugin } = sharedMemoryLog();
    const world = `snapshot ${step}`;
    const first = await boot({ logPlugin: plugin, world, ...resources({ throwsOn: step }) });
    await first.command(scale(2));
    await expect.poll(() => ready(first)).toBe(2);
    await first.stop();
    const second = await boot({ logPlugin: plugin, world, ...resources({ throwsOn: step }) });
    await second.command(scale(3));
    await expect.poll(() => ready(second)).toBe(3);
    await second.swap({ slot: 'resources', plugin: 'resources-toy', config: {} }); // its predecessor cannot save either
    await second.command(scale(4));
    await expect.poll(() => ready(second)).toBe(4);
  });
});

describe('commands', () => {
  it('wait for a swap and are carried out by whoever is in charge then', async () => {
    const kernel = await boot({ logPlugin: sharedMemoryLog().plugin, world: 'commands' });
    const sent: Promise<unknown>[] = [];
    for (let round = 1; round <= 5; round++) {
      sent.push(kernel.swap({ slot: 'orchestrator', plugin: 'orchestrator-toy', config: {} }));
      for (let more = 0; more < 5; more++) sent.push(kernel.command(scale(round)));
      await Promise.allSettled(sent);
    }
    expect((await Promise.allSettled(sent)).filter(({ status }) => status === 'rejected')).toEqual([]);
    await expect.poll(() => ready(kernel)).toBe(5);
  });

  it('are refused when a full log has no room for them in time, and later ones are taken again', async () => {
    const { log, plugin } = sharedMemoryLog();
    let full = false;
    const append = log.append.bind(log);
    log.append = (...args) => (full ? Promise.reject(new CloudosError('LOG_FULL', 'no room')) : append(...args));
    const kernel = await boot({ logPlugin: plugin, world: 'full' });
    full = true;
    await expect(kernel.command(scale(1))).rejects.toSatisfy((error) => hasCode(error, 'LOG_FULL'));
    full = false;
    await kernel.command(scale(2));
    await expect.poll(() => ready(kernel)).toBe(2);
  });
});

describe('a swap', () => {
  it('to a host that cannot describe itself is aborted, and no guest is touched', async () => {
    const broken = definePlugin({
      ...hostSimulated,
      name: 'host-broken',
      create: () => ({ inventory: () => throwError(() => new Error('no such machine')), checks: async () => [] }),
    });
    const kernel = await boot({ logPlugin: sharedMemoryLog().plugin, world: 'host', given: [broken as AnyPlugin] });
    await kernel.command(scale(2));
    await expect.poll(() => ready(kernel)).toBe(2);
    const swap = kernel.swap({ slot: 'host', plugin: 'host-broken', config: {}, node: 'n-1' });
    await expect(swap).rejects.toMatchObject({
      code: 'SWAP_ABORTED',
      message: expect.stringContaining('no such machine'),
    });
    expect(await ready(kernel)).toBe(2);
    expect((await kernel.view()).nodes.every(({ state }) => state === 'ready')).toBe(true);
  });

  it('that a kernel did not live to end is aborted by the next one', async () => {
    const { log, plugin } = sharedMemoryLog();
    const first = await boot({ logPlugin: plugin, world: 'cut' });
    const append = log.append.bind(log);
    log.append = (stream, events, at) =>
      events.some(({ type }) => type === 'SwapCompleted') ? new Promise(() => {}) : append(stream, events, at);
    void first.swap({ slot: 'resources', plugin: 'resources-toy', config: {} });
    await expect.poll(async () => (await everything(log)).some(({ type }) => type === 'SwapStarted')).toBe(true);
    running.length = 0; // it hangs for ever: a successor takes over
    log.append = append;
    await boot({ logPlugin: plugin, world: 'cut' });
    const ends = (await everything(log)).filter(({ type }) => type === 'SwapAborted');
    expect(ends.map(({ data }) => data)).toEqual([
      expect.objectContaining({ slot: 'resources', reason: 'the kernel ended during the swap' }),
    ]);
  });
});

describe('down', () => {
  it('goes on without a working orchestrator', async () => {
    const world = simulatedWorld('down-alone');
    const { plugin } = sharedMemoryLog();
    const first = await boot({ logPlugin: plugin, world: 'down-alone' });
    await first.command(scale(3));
    await expect.poll(() => ready(first)).toBe(3);
    await first.stop();
    const broken = { plugin: 'orchestrator-toy', config: { throwsOn: 'WorkloadDeclared' } };
    const second = await boot({ logPlugin: plugin, world: 'down-alone', orchestrator: broken });
    await expect.poll(() => pluginIn(second, 'orchestrator')).toMatchObject({ state: 'failed', attempt: 3 });
    await second.down();
    expect(world.guests()).toEqual([]);
  });

  it('ends when the kernel is stopped meanwhile', async () => {
    const kernel = await boot({
      logPlugin: sharedMemoryLog().plugin,
      world: 'down-stop',
      guest: { stopDelayMs: 60_000 },
    });
    await kernel.command(scale(1));
    await expect.poll(() => ready(kernel)).toBe(1);
    const down = kernel.down();
    await expect.poll(async () => (await kernel.view()).instances.map(({ state }) => state)).toEqual(['stopping']);
    const [ended] = await Promise.allSettled([down, kernel.stop()]);
    expect(ended.status).toBe('rejected');
  });
});

describe('a stack file that names fewer nodes', () => {
  it('loses the others, and their instances go elsewhere', async () => {
    const { log, plugin } = sharedMemoryLog();
    const first = await boot({ logPlugin: plugin, world: 'fewer', nodes: 3 });
    await first.stop();
    const second = await boot({ logPlugin: plugin, world: 'fewer', nodes: 2 });
    await expect
      .poll(async () => (await second.view()).nodes.map(({ state }) => state))
      .toEqual(['ready', 'ready', 'lost']);
    const lost = (await everything(log)).find(({ type }) => type === 'NodeLost');
    expect(lost?.data).toEqual({ node: 'n-3', reason: 'it is not in the stack file any more' });
    expect(
      (await everything(log))
        .filter(({ type, stream }) => type === 'StreamClaimed' && stream === 'kernel')
        .map(({ data }) => data),
    ).toEqual([
      { plugin: 'kernel', generation: 1 },
      { plugin: 'kernel', generation: 2 },
    ]);
  });
});
