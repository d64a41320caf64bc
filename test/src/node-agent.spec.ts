import guestSimulated, { simulatedWorld } from '@cloudos/guest-simulated';
import hostSimulated from '@cloudos/host-simulated';
import type { Kernel } from '@cloudos/kernel';
import orchestratorKubernetes from '@cloudos/orchestrator-kubernetes';
import {
  type AnyPlugin,
  CloudosError,
  definePlugin,
  event,
  type GuestContainerChange,
  type GuestContainerStatus,
  type GuestDriver,
  type GuestHealth,
  type SharedEvent,
} from '@cloudos/sdk';
import { Observable, Subject } from 'rxjs';
import { afterEach, describe, expect, it } from 'vitest';
import { bootSimulated, everything, type StackOptions, sharedMemoryLog } from './support/simulated-stack.ts';

const scale = (replicas: number) =>
  ({ slot: 'orchestrator', command: { type: 'Scale', workload: 'toy', replicas } }) as const;
const limits = { slots: { restartDelayMs: 20, restartsMax: 2 }, nodes: { retryDelayMs: 10 } };

const running: Kernel[] = [];
afterEach(async () => {
  for (const kernel of running.splice(0)) await kernel.stop();
});
async function boot(options: StackOptions): Promise<Kernel> {
  const kernel = await bootSimulated({ limits, nodes: 1, ...options });
  running.push(kernel);
  return kernel;
}
const states = async (kernel: Kernel) => (await kernel.view()).instances.map(({ state }) => state);

/** The simulated guest driver with some of its answers changed. */
function guestsThat(change: (driver: GuestDriver) => Partial<GuestDriver>): AnyPlugin {
  return definePlugin({
    ...guestSimulated,
    create: async (context, config) => {
      const driver = await guestSimulated.create(context, config);
      const changed = change(driver);
      return new Proxy(driver, {
        get: (target, key) => {
          const own = (changed as Record<PropertyKey, unknown>)[key] ?? Reflect.get(target, key, target);
          return typeof own === 'function' ? own.bind(target) : own;
        },
      });
    },
  }) as AnyPlugin;
}
const types = async (log: Parameters<typeof everything>[0], about: string) =>
  ((await everything(log)) as SharedEvent[])
    .filter(({ data }) => (data as { instance?: string }).instance === about)
    .map(({ type }) => type);

describe('a node agent', () => {
  it('contains a driver that answers nonsense: its slot pays, nothing of it is recorded, the kernel goes on', async () => {
    const { log, plugin } = sharedMemoryLog();
    const fatal: unknown[] = [];
    const nonsense = guestsThat((driver) => ({
      start: async (...args) => ({ ...(await driver.start(...args)), pid: 'abc' as never }),
    }));
    const kernel = await boot({
      logPlugin: plugin,
      world: 'nonsense',
      given: [nonsense],
      onFatal: (error) => fatal.push(error),
    });
    await kernel.command(scale(1));
    await expect
      .poll(async () => (await everything(log)).filter(({ type }) => type === 'PluginFailed').length)
      .toBeGreaterThan(0);
    expect(JSON.stringify(await everything(log))).not.toContain('"pid":"abc"');
    expect(fatal).toEqual([]);
    await kernel.command(scale(0));
  });

  it('gives running guests other limits in place, and records it, or why not', async () => {
    const { log, plugin } = sharedMemoryLog();
    const asked: number[] = [];
    const tight = guestsThat((driver) => ({
      resize: async (instance, wanted) => {
        asked.push(wanted.limits.pids);
        if (wanted.limits.pids === 3) throw new CloudosError('GUEST_STATE', 'it has more processes than that');
        return driver.resize?.(instance, wanted) as never;
      },
    }));
    const kernel = await boot({ logPlugin: plugin, world: 'resized', given: [tight] });
    await kernel.command(scale(2));
    await expect.poll(() => states(kernel)).toEqual(['ready', 'ready']);
    const before = (await kernel.view()).instances.map(({ pid }) => pid);
    const resize = async (pids: number) => {
      const limits = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids };
      await kernel.command({ slot: 'orchestrator', command: { type: 'Resize', workload: 'toy', limits } });
      await expect.poll(async () => (await kernel.view()).instances.some(({ resizing }) => resizing)).toBe(false);
      const { instances } = await kernel.view();
      expect(instances.map(({ pid, attempt, state }) => [pid, attempt, state])).toEqual(
        before.map((pid) => [pid, 1, 'ready']),
      );
      return instances[0]?.reason;
    };
    expect(await resize(7)).toBeUndefined();
    expect(await resize(3)).toBe('resize: it has more processes than that');
    expect(await resize(8)).toBeUndefined();
    expect(asked).toEqual([7, 7, 3, 3, 8, 8]);
    expect((await types(log, 'toy-0')).slice(-3)).toEqual(['GuestResized', 'GuestResizeFailed', 'GuestResized']);
    // A new instance has the limits from the start.
    await kernel.command(scale(3));
    await expect.poll(() => states(kernel)).toEqual(['ready', 'ready', 'ready']);
    expect(asked).toHaveLength(6);
  });

  it('says of a driver that cannot change limits in place that it cannot', async () => {
    const { log, plugin } = sharedMemoryLog();
    const stiff = guestsThat(() => ({ resize: false as never }));
    const kernel = await boot({ logPlugin: plugin, world: 'stiff', given: [stiff] });
    await kernel.command(scale(1));
    await expect.poll(() => states(kernel)).toEqual(['ready']);
    const wanted = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 5 };
    await kernel.command({ slot: 'orchestrator', command: { type: 'Resize', workload: 'toy', limits: wanted } });
    await expect.poll(() => types(log, 'toy-0')).toContain('GuestResizeFailed');
    const failed = ((await everything(log)) as SharedEvent[]).find(({ type }) => type === 'GuestResizeFailed');
    expect(failed?.data).toMatchObject({ code: 'GUEST_UNSUPPORTED', limits: { pids: 5 } });
  });

  it('records what becomes of the containers of a guest, also while nobody watched, and when all of them are ready', async () => {
    const { log, plugin } = sharedMemoryLog();
    const changes = new Subject<GuestContainerChange>();
    let status: GuestContainerStatus = { name: 'beside', state: 'running', restarts: 0 };
    const exit = { exitCode: 3, signal: null, reason: 'exited' } as const;
    const pods = definePlugin({
      ...guestsThat((driver) => ({
        containerChanges: changes,
        create: (spec) => driver.create({ ...spec, template: { ...spec.template, containers: [] } }),
        start: async (...args) => ({ ...(await driver.start(...args)), containers: [status] }),
        list: async () => (await driver.list()).map((guest) => ({ ...guest, containers: [status] })),
      })),
      supports: { ...guestSimulated.supports, pods: true },
    } as typeof guestSimulated) as AnyPlugin;
    const stack = {
      logPlugin: plugin,
      world: 'pods',
      given: [pods, orchestratorKubernetes as AnyPlugin],
      orchestrator: 'orchestrator-kubernetes',
    };
    const kernel = await boot(stack);
    const containers = ['first', 'beside'].map((name) => ({ name, image: 'any', command: ['sleep'] }));
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'pair' }, spec: { containers } };
    await kernel.command({ slot: 'orchestrator', command: { type: 'Apply', text: JSON.stringify(pod) } });
    const state = async () => (await kernel.view()).instances[0];
    await expect.poll(async () => (await state())?.state).toBe('ready');
    const { instance = '' } = (await state()) ?? {};
    const tell = (next: GuestContainerStatus) => {
      status = next;
      changes.next({ ...next, instance, attempt: 1 });
    };
    tell({ name: 'beside', state: 'waiting', restarts: 0, exit, backOffMs: 1_000 });
    await expect.poll(async () => (await state())?.state).toBe('running');
    expect(await state()).toMatchObject({ attempt: 1, reason: 'container beside has ended' });
    tell({ name: 'beside', state: 'running', restarts: 1, exit });
    await expect.poll(async () => (await state())?.state).toBe('ready');
    await kernel.stop();
    status = { name: 'beside', state: 'waiting', restarts: 4, exit, backOffMs: 16_000 };
    const next = await boot(stack);
    const seen = async () => (await next.view()).instances[0];
    await expect.poll(async () => (await seen())?.state).toBe('running');
    expect(await seen()).toMatchObject({ containers: [{ name: 'beside', running: false, restarts: 4, exit }] });
    expect((await types(log, instance)).slice(-8)).toEqual([
      ...['GuestStarted', 'GuestHealthy', 'GuestContainerExited', 'GuestUnhealthy'],
      ...['GuestContainerStarted', 'GuestHealthy', 'GuestContainerExited', 'GuestUnhealthy'],
    ]);
  });

  it('keeps guests while its host driver is restarted', async () => {
    const { log, plugin } = sharedMemoryLog();
    const clumsy = definePlugin({
      ...hostSimulated,
      create: async (context, config) => ({
        ...(await hostSimulated.create(context, config)),
        checks: () => Promise.reject(new TypeError('clumsy')),
      }),
    });
    const kernel = await boot({ logPlugin: plugin, world: 'clumsy', given: [clumsy as AnyPlugin] });
    await kernel.command(scale(2));
    await expect.poll(() => states(kernel)).toEqual(['ready', 'ready']);
    await kernel.doctor().catch(() => {});
    await expect.poll(() => kernel.plugins().find(({ slot }) => slot === 'host')?.generation).toBe(2);
    const seen = (await everything(log)).map(({ type }) => type);
    expect(seen).toContain('PluginFailed');
    expect(seen).not.toContain('NodeLost');
    expect(await states(kernel)).toEqual(['ready', 'ready']);
  });

  it('does not say that a guest is removed while its driver cannot be reached', async () => {
    const { log, plugin } = sharedMemoryLog();
    const world = simulatedWorld('unreachable');
    const first = await boot({ logPlugin: plugin, world: 'unreachable' });
    await first.command(scale(2));
    await expect.poll(() => states(first)).toEqual(['ready', 'ready']);
    await first.stop();
    world.setOutage('n-1', 'no runtime today');
    const second = await boot({ logPlugin: plugin, world: 'unreachable' });
    await second.command(scale(0));
    await expect.poll(async () => (await types(log, 'toy-0')).includes('GuestFailed')).toBe(true);
    expect(await types(log, 'toy-0')).not.toContain('GuestRemoved');
    expect(world.guests()).toHaveLength(2);
    world.setOutage('n-1', undefined);
    await expect.poll(() => world.guests().length).toBe(0);
    expect(await types(log, 'toy-0')).toContain('GuestRemoved');
  });

  it('records that a runtime holds a guest, with the reason, once; and that it goes on, also when that was told to nobody', async () => {
    const { log, plugin } = sharedMemoryLog();
    const known = new Map<string, GuestHealth>();
    const told = new Subject<GuestHealth>();
    const tell = (health: GuestHealth) => {
      known.set(health.instance, health);
      told.next(health);
    };
    const health = new Observable<GuestHealth>((subscriber) => {
      for (const one of known.values()) subscriber.next(one);
      return told.subscribe(subscriber);
    });
    const given = [guestsThat(() => ({ health }))];
    const kernel = await boot({ logPlugin: plugin, world: 'held', given });
    await kernel.command(scale(1));
    await expect.poll(() => states(kernel)).toEqual(['ready']);
    const instance = (await kernel.view()).instances[0]?.instance ?? '';
    const about = { instance, attempt: 1 };
    const why = { code: 'DISK_FULL', reason: 'no space', remedy: 'free some' };
    tell({ ...about, ok: false, ...why });
    await expect.poll(() => states(kernel)).toEqual(['running']);
    tell({ ...about, ok: true });
    await expect.poll(() => states(kernel)).toEqual(['ready']);
    tell({ ...about, ok: false, ...why });
    await expect.poll(() => states(kernel)).toEqual(['running']);
    await kernel.stop();
    const later = await boot({ logPlugin: plugin, world: 'held', given });
    expect(await states(later)).toEqual(['running']);
    await later.stop();
    known.set(instance, { ...about, ok: true });
    const last = await boot({ logPlugin: plugin, world: 'held', given });
    await expect.poll(() => states(last)).toEqual(['ready']);
    const recorded = (await types(log, instance)).filter((type) => type.endsWith('ealthy'));
    expect(recorded).toEqual(['GuestUnhealthy', 'GuestHealthy', 'GuestUnhealthy', 'GuestHealthy']);
    const unhealthy = (await everything(log)).find(({ type }) => type === 'GuestUnhealthy');
    expect(unhealthy?.data).toMatchObject({ ...about, probe: 'readiness', ...why });
  });

  it('hears of an exit that happens while it takes stock', async () => {
    const { log, plugin } = sharedMemoryLog();
    const world = simulatedWorld('stock');
    const first = await boot({ logPlugin: plugin, world: 'stock' });
    await first.command(scale(1));
    await expect.poll(() => states(first)).toEqual(['ready']);
    await first.stop();
    const dying = guestsThat((driver) => ({
      list: async () => {
        const found = await driver.list();
        world.kill('toy-0', { exitCode: 9, signal: null, reason: 'exited' });
        return found;
      },
    }));
    const second = await boot({ logPlugin: plugin, world: 'stock', given: [dying] });
    await expect.poll(() => states(second)).toEqual(['exited']);
    expect((await types(log, 'toy-0')).filter((type) => type === 'GuestExited')).toHaveLength(1);
  });

  it('tries again when a guest that is to be restarted could not be stopped', async () => {
    const { log, plugin } = sharedMemoryLog();
    let failures = 1;
    const stubborn = guestsThat((driver) => ({
      stop: (...args) =>
        failures-- > 0 ? Promise.reject(new CloudosError('HOST_COMMAND_FAILED', 'not now')) : driver.stop(...args),
    }));
    const kernel = await boot({ logPlugin: plugin, world: 'stubborn', given: [stubborn] });
    await kernel.command(scale(1));
    await expect.poll(() => states(kernel)).toEqual(['ready']);
    const order = event('InstanceRestartOrdered', { instance: 'toy-0', attempt: 2, reason: 'for the test' });
    await log.append('x-test', [order], 'any');
    await expect.poll(async () => (await kernel.view()).instances[0]?.attempt).toBe(2);
    const seen = await types(log, 'toy-0');
    expect(seen.slice(-4)).toEqual(['InstanceRestartOrdered', 'GuestFailed', 'GuestExited', 'GuestStarted']);
  });

  it('does not blame a guest for the absence of its driver', async () => {
    const { log, plugin } = sharedMemoryLog();
    const slow = guestsThat((driver) => ({
      stats: () => new Promise(() => {}),
      probe: (...args) => driver.probe?.(...args) as never,
    }));
    const kernel = await boot({
      logPlugin: plugin,
      world: 'absence',
      given: [slow],
      limits: { slots: { restartDelayMs: 150, callDeadlineMs: 1_000 } },
    });
    await kernel.command(scale(1));
    await expect.poll(() => states(kernel)).toEqual(['ready']);
    await kernel.stats('toy-0').catch(() => {}); // takes the driver down
    await expect.poll(() => kernel.plugins().find(({ slot }) => slot === 'guest')?.generation).toBe(2);
    expect(await types(log, 'toy-0')).not.toContain('GuestUnhealthy');
    expect(await states(kernel)).toEqual(['ready']);
  });

  it('records an exit during the drain once', async () => {
    const { log, plugin } = sharedMemoryLog();
    const kernel = await boot({ logPlugin: plugin, world: 'drain' });
    await kernel.command(scale(1));
    await expect.poll(() => states(kernel)).toEqual(['ready']);
    const withdrawn = event('InstanceWithdrawn', {
      instance: 'toy-0',
      reason: 'for the test',
      // Long enough to be seen in it.
      drainMs: 1_500,
      graceMs: 10,
    });
    await log.append('x-test', [withdrawn], 'any');
    await expect.poll(() => states(kernel)).toContain('stopping');
    simulatedWorld('drain').kill('toy-0');
    await expect.poll(async () => (await types(log, 'toy-0')).includes('GuestRemoved')).toBe(true);
    expect((await types(log, 'toy-0')).filter((type) => type === 'GuestExited')).toHaveLength(1);
  });
});
