import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { pluginContext } from '@cloudos/conformance';
import { type GuestDriver, type GuestExit, type GuestSpec, guestTemplate, hasCode } from '@cloudos/sdk';
import { VirtualClock } from '@cloudos/testing';
import { firstValueFrom } from 'rxjs';
import { afterEach, describe, expect, it } from 'vitest';
import plugin, { simulatedGuestsConfig } from './plugin.ts';
import { firstPid, simulatedWorld } from './simulated-world.ts';

const world = simulatedWorld('driver-spec');
afterEach(() => world.reset());

async function driver(config: Record<string, unknown> = {}, clock = new VirtualClock(), node = 'n1') {
  const context = await pluginContext({ clock, node: { id: node } });
  const guests = (await plugin.create(
    context,
    simulatedGuestsConfig.parse({ world: 'driver-spec', ...config }),
  )) as Required<GuestDriver>;
  return { guests, clock, scope: context.scope };
}

function spec(instance: string, ...command: string[]): GuestSpec {
  const requests = { cpuMillis: 100, memoryBytes: 1_000, diskBytes: 0, pids: 0 };
  const template = guestTemplate.parse({ image: 'any', requests, limits: {}, ...(command.length ? { command } : {}) });
  return { instance, workload: 'default/web', node: 'n1', template };
}

function garbageCollector(): () => void {
  setFlagsFromString('--expose_gc');
  return runInNewContext('gc') as () => void;
}

async function codeOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'no error',
    (error) => error.code,
  );
}

describe('guest-simulated', () => {
  it('starts once however often it is asked, and refuses another attempt while one runs', async () => {
    const { guests } = await driver();
    await guests.create(spec('a'));
    await guests.create(spec('a'));
    const first = await guests.start('a', 1);
    expect(first).toMatchObject({ state: 'running', attempt: 1, runtime: 'simulated' });
    expect(first.pid).toBeGreaterThanOrEqual(firstPid);
    expect(await guests.start('a', 1)).toEqual(first);
    expect(await codeOf(guests.start('a', 2))).toBe('GUEST_STATE');
    expect(world.operations).toMatchObject({ created: 1, started: 1 });
  });

  it('takes no timer when no delay is configured', async () => {
    const { guests, clock } = await driver();
    await guests.create(spec('a'));
    await guests.start('a', 1);
    await guests.stop('a', 1_000);
    await guests.remove('a');
    expect(clock.pending).toBe(0);
    expect(world.operations).toEqual({ created: 1, started: 1, stopped: 1, removed: 1 });
  });

  it('starts, becomes ready and stops after the delays on the clock', async () => {
    const { guests, clock } = await driver({ startDelayMs: 100, readyDelayMs: 50, stopDelayMs: 30 });
    await guests.create(spec('a'));
    const starting = guests.start('a', 1);
    const again = guests.start('a', 1);
    await clock.runFor(99);
    expect(world.guest('a')?.state).toBe('created');
    await clock.runFor(1);
    expect(await again).toEqual(await starting);
    expect(world.operations.started).toBe(1);
    const probe = { check: { kind: 'tcp', port: 80 } } as never;
    expect((await guests.probe('a', probe)).ok).toBe(false);
    await clock.runFor(50);
    expect((await guests.probe('a', probe)).ok).toBe(true);
    const stopping = guests.stop('a', 1_000);
    await clock.runFor(30);
    expect(await stopping).toMatchObject({ signal: 'SIGTERM', reason: 'stopped' });
  });

  it('kills a stubborn guest when the grace is over', async () => {
    const { guests, clock } = await driver();
    await guests.create(spec('a', 'stubborn'));
    await guests.start('a', 1);
    const stopping = guests.stop('a', 5_000);
    await clock.runFor(4_999);
    expect(world.guest('a')?.state).toBe('running');
    await clock.runFor(1);
    expect(await stopping).toMatchObject({ signal: 'SIGKILL', reason: 'stopped' });
  });

  it('reports exits with the attempt, and nothing after it was detached', async () => {
    const { guests, clock, scope } = await driver();
    const exits: GuestExit[] = [];
    guests.exits.subscribe((exit) => exits.push(exit));
    await guests.create(spec('a', 'crash-after', '500', '7'));
    await guests.start('a', 1);
    await clock.runFor(500);
    expect(exits).toEqual([{ instance: 'a', attempt: 1, exitCode: 7, signal: null, reason: 'exited' }]);
    await guests.start('a', 2);
    await scope.close();
    await clock.runFor(500);
    expect(exits).toHaveLength(1);
    expect(world.guest('a')?.state).toBe('exited');
  });

  it('lets guests survive the driver: the next one lists and adopts them', async () => {
    const before = await driver();
    await before.guests.create(spec('a'));
    const { handle, pid } = await before.guests.start('a', 3);
    await before.scope.close();
    const after = await driver();
    expect(await after.guests.list()).toMatchObject([{ instance: 'a', state: 'running', attempt: 3, pid }]);
    expect(await after.guests.adopt(handle)).toMatchObject({ instance: 'a', state: 'running', pid });
  });

  it('keeps runtimes of one node apart', async () => {
    const one = await driver();
    const other = await driver({ runtime: 'other' });
    await one.guests.create(spec('a'));
    expect(await other.guests.list()).toEqual([]);
    expect(await codeOf(other.guests.start('a', 1))).toBe('GUEST_NOT_FOUND');
    await other.guests.purge();
    expect(await one.guests.list()).toHaveLength(1);
  });

  it('loses a node with everything on it, and takes it back empty', async () => {
    const { guests } = await driver();
    await guests.create(spec('a'));
    await guests.start('a', 1);
    world.loseNode('n1');
    expect(await codeOf(guests.list())).toBe('RUNTIME_UNAVAILABLE');
    expect(await firstValueFrom(guests.fingerprint())).toMatchObject({ available: false });
    world.restoreNode('n1');
    expect(await guests.list()).toEqual([]);
    expect(await firstValueFrom(guests.fingerprint())).toMatchObject({ available: true, runtime: 'simulated' });
  });

  it('rejects a start whose guest was removed meanwhile', async () => {
    const { guests, clock } = await driver({ startDelayMs: 10 });
    await guests.create(spec('a'));
    const starting = codeOf(guests.start('a', 1));
    await guests.remove('a');
    await clock.runFor(10);
    expect(await starting).toBe('GUEST_NOT_FOUND');
    expect(world.operations.started).toBe(0);
  });

  it('fails as often as configured, for the same instances under the same seed', async () => {
    const failed = async () => {
      const { guests } = await driver({ startFailureRate: 0.3, seed: 5 });
      const names: string[] = [];
      for (let n = 0; n < 300; n++) {
        await guests.create(spec(`g${n}`));
        await guests.start(`g${n}`, 1).catch((error) => {
          expect(hasCode(error, 'GUEST_START_FAILED')).toBe(true);
          names.push(`g${n}`);
        });
      }
      await guests.purge();
      return names;
    };
    const names = await failed();
    expect(names.length).toBeGreaterThan(60);
    expect(names.length).toBeLessThan(120);
    expect(await failed()).toEqual(names);
  });

  it('executes, logs, pauses and snapshots', async () => {
    const { guests, clock } = await driver();
    await guests.create(spec('a', 'sh', '-c', 'echo one; echo two; echo bad >&2; sleep'));
    await guests.start('a', 1);
    const text: string[] = [];
    for await (const chunk of guests.logs('a', { tailLines: 1 }))
      text.push(`${chunk.stream}: ${Buffer.from(chunk.data)}`);
    expect(text).toEqual(['stdout: two\n', 'stderr: bad\n']);
    const session = await guests.exec('a', { command: ['sh', '-c', 'echo hi; exit 5'] });
    expect(await session.exitCode).toBe(5);
    expect(await codeOf(guests.exec('a', { command: ['no-such-command'] }))).toBe('COMMAND_NOT_FOUND');
    await guests.exec('a', { command: ['set', 'k', 'v'] });
    await guests.snapshot('a', 's');
    await guests.exec('a', { command: ['set', 'k', 'w'] });
    await guests.restore('a', 's');
    expect(world.guest('a')?.memory?.get('k')).toBe('v');
    await guests.pause('a');
    expect((await guests.list())[0]?.state).toBe('paused');
    expect(await codeOf(guests.exec('a', { command: ['env'] }))).toBe('GUEST_STATE');
    await guests.resume('a');
    expect((await guests.list())[0]?.state).toBe('running');
    expect(clock.pending).toBe(0);
  });

  it('holds 100,000 guests at less than 1 KB each', async () => {
    const { guests } = await driver();
    const template = spec('x').template;
    const collect = garbageCollector();
    collect();
    const before = process.memoryUsage().heapUsed;
    for (let n = 0; n < 100_000; n++) {
      const instance = `web-${n}`;
      await guests.create({ instance, workload: 'default/web', node: 'n1', template });
      await guests.start(instance, 1);
    }
    collect();
    const each = (process.memoryUsage().heapUsed - before) / 100_000;
    expect(world.guests('n1')).toHaveLength(100_000);
    expect(each).toBeLessThan(1_024);
  });
});
