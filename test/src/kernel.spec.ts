import { simulatedWorld } from '@cloudos/guest-simulated';
import type { Kernel } from '@cloudos/kernel';
import { newId } from '@cloudos/sdk';
import { afterEach, describe, expect, it } from 'vitest';
import { bootSimulated, everything, type StackOptions, sharedMemoryLog } from './support/simulated-stack.ts';

const scale = (replicas: number) =>
  ({ slot: 'orchestrator', command: { type: 'Scale', workload: 'toy', replicas } }) as const;

const running: Kernel[] = [];
afterEach(async () => {
  for (const kernel of running.splice(0)) await kernel.stop();
});
async function boot(options: StackOptions): Promise<Kernel> {
  const kernel = await bootSimulated(options);
  running.push(kernel);
  return kernel;
}

const states = async (kernel: Kernel) => (await kernel.view()).instances.map(({ state }) => state);
const allReady = (kernel: Kernel, count: number) =>
  expect.poll(() => states(kernel)).toEqual(Array.from({ length: count }, () => 'ready'));
const byInstance = (one: unknown, other: unknown) =>
  (one as { instance: string }).instance.localeCompare((other as { instance: string }).instance);
const count = (events: readonly { type: string }[], type: string) =>
  events.filter((event) => event.type === type).length;

describe('a kernel', () => {
  it('turns a declaration into running guests, and records each step', async () => {
    const { log, plugin } = sharedMemoryLog();
    const kernel = await boot({ logPlugin: plugin, world: 'steps' });
    const { positions, events } = await kernel.command(scale(3));
    expect(events.map(({ type }) => type)).toEqual(['WorkloadDeclared']);
    expect(positions?.first).toBeGreaterThan(0);
    await allReady(kernel, 3);
    const about = (await everything(log)).filter(({ data }) => (data as { instance?: string }).instance === 'toy-0');
    expect(about.map(({ type, stream }) => [type, stream])).toEqual([
      ['InstanceRequested', 'orchestrator'],
      ['InstancePlaced', 'resources'],
      ['GuestCreated', 'node-n-1'],
      ['GuestStarted', 'node-n-1'],
    ]);
    expect(about[1]?.meta.causation).toBeGreaterThanOrEqual(about[0]?.position ?? Infinity);
  });

  it('carries a command out once, however often it is sent', async () => {
    const { log, plugin } = sharedMemoryLog();
    const kernel = await boot({ logPlugin: plugin, world: 'once' });
    const id = newId();
    const first = await kernel.command(scale(2), { id });
    expect(await kernel.command(scale(2), { id })).toEqual(first);
    await kernel.stop();
    const again = await boot({ logPlugin: plugin, world: 'once' });
    expect((await again.command(scale(2), { id })).positions).toEqual(first.positions);
    expect(count(await everything(log), 'WorkloadDeclared')).toBe(1);
  });

  it('refuses what does not match the schema of a command, and what the policy refuses', async () => {
    const kernel = await boot({ logPlugin: sharedMemoryLog().plugin, world: 'refusals' });
    const wrong = { slot: 'orchestrator', command: { type: 'Scale', workload: 'toy', replicas: -1 } } as const;
    await expect(kernel.command(wrong)).rejects.toMatchObject({
      code: 'COMMAND_INVALID',
      message: expect.stringMatching(/replicas.*given -1/),
    });
    const unknown = { slot: 'resources', command: { type: 'UncordonNode', node: 'n-1' } } as const;
    await expect(kernel.command(unknown)).rejects.toMatchObject({ code: 'COMMAND_REFUSED' });
    await expect(kernel.view(10_000)).rejects.toMatchObject({ code: 'POSITION_OUT_OF_RANGE' });
  });

  it('leaves guests running when it stops, and adopts them when it starts', async () => {
    const { log, plugin } = sharedMemoryLog();
    const world = simulatedWorld('adopt');
    const first = await boot({ logPlugin: plugin, world: 'adopt' });
    await first.command(scale(5));
    await allReady(first, 5);
    await first.stop();
    const pids = world.guests().map(({ pid }) => pid);
    const before = await everything(log);

    const second = await boot({ logPlugin: plugin, world: 'adopt' });
    await allReady(second, 5);
    expect(world.guests().map(({ pid }) => pid)).toEqual(pids);
    const since = (await everything(log)).slice(before.length).map(({ type }) => type);
    expect(new Set(since)).toEqual(new Set(['StreamClaimed', 'StackAssembled', 'PluginActivated']));
  });

  it('records what happened to guests while it was away, and removes those that are not wanted', async () => {
    const { log, plugin } = sharedMemoryLog();
    const world = simulatedWorld('away');
    const first = await boot({ logPlugin: plugin, world: 'away' });
    await first.command(scale(3));
    await allReady(first, 3);
    await first.stop();
    world.kill('toy-0', { exitCode: 3, signal: null, reason: 'exited' });
    const lost = world.guest('toy-1');
    if (lost) world.forget(world.node(lost.spec.node), lost);
    const spec = { ...world.guests()[0]!.spec, instance: 'orphan' };
    world.begin(world.add(spec, 'simulated'), 1, { prints: [] } as never, 0);

    const second = await boot({ logPlugin: plugin, world: 'away' });
    await expect.poll(() => states(second)).toEqual(['exited', 'exited', 'ready']);
    const exits = (await everything(log)).filter(({ type }) => type === 'GuestExited').map(({ data }) => data);
    // Each from the agent of its node: the order among them is anybody's.
    expect(exits.toSorted(byInstance)).toEqual([
      expect.objectContaining({ instance: 'toy-0', exitCode: 3, reason: 'exited' }),
      expect.objectContaining({ instance: 'toy-1', exitCode: null, reason: 'lost' }),
    ]);
    await expect.poll(() => world.guest('orphan')).toBeUndefined();
  });

  it('shows the state at any position', async () => {
    const kernel = await boot({ logPlugin: sharedMemoryLog().plugin, world: 'time-travel' });
    const { positions } = await kernel.command(scale(2));
    await allReady(kernel, 2);
    const then = await kernel.view(positions?.last);
    expect(then.instances).toEqual([]);
    expect(then.workloads[0]?.spec.replicas).toBe(2);
    expect((await kernel.view(kernel.log.head())).instances).toHaveLength(2);
  });

  it('says why an instance is where it is', async () => {
    const kernel = await boot({ logPlugin: sharedMemoryLog().plugin, world: 'why' });
    await kernel.command(scale(1));
    await allReady(kernel, 1);
    const { summary, steps } = await kernel.why('toy-0');
    expect(summary).toBe('toy-0 is ready on n-1');
    expect(steps.map(({ type, by }) => [type, by])).toEqual([
      ['InstanceRequested', 'orchestrator-toy'],
      ['InstancePlaced', 'resources-toy'],
      ['GuestCreated', 'kernel'],
      ['GuestStarted', 'kernel'],
    ]);
    await expect(kernel.why('nobody')).rejects.toMatchObject({ code: 'INSTANCE_NOT_FOUND' });
  });

  it('takes everything down', async () => {
    const { log, plugin } = sharedMemoryLog();
    const kernel = await boot({ logPlugin: plugin, world: 'down' });
    await kernel.command(scale(4));
    await allReady(kernel, 4);
    await kernel.down();
    expect(simulatedWorld('down').guests()).toEqual([]);
    const events = await everything(log);
    expect([count(events, 'GuestExited'), count(events, 'GuestRemoved'), count(events, 'NodeLeft')]).toEqual([4, 4, 3]);
  });

  it('notices a lost node, and its return', async () => {
    const { log, plugin } = sharedMemoryLog();
    const kernel = await boot({ logPlugin: plugin, world: 'lost', limits: { slots: { restartDelayMs: 50 } } });
    const { simulatedHosts } = await import('@cloudos/host-simulated');
    simulatedHosts('lost').lose('n-2');
    await expect
      .poll(async () => (await kernel.view()).nodes.map(({ state }) => state))
      .toEqual(['ready', 'lost', 'ready']);
    simulatedHosts('lost').restore('n-2');
    await expect
      .poll(async () => (await kernel.view()).nodes.map(({ state }) => state))
      .toEqual(['ready', 'ready', 'ready']);
    expect(count(await everything(log), 'NodeLost')).toBe(1);
  });
});
