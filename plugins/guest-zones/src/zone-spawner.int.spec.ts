import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pluginContext } from '@cloudos/conformance';
import { digest, findTool } from '@cloudos/host-tools';
import { type GuestDriver, type GuestExit, guestTemplate } from '@cloudos/sdk';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import guestZones from './index.ts';
import { ZoneSpawner } from './zone-spawner.ts';

const obstacle = process.geteuid?.() !== 0 ? 'run as root' : findTool('perl') ? undefined : 'apt-get install perl-base';
const title = `how zones are launched${obstacle ? ` (cannot run: ${obstacle})` : ''}`;

describe.skipIf(obstacle !== undefined)(title, () => {
  let dataDir: string;
  let driver: GuestDriver;
  let close: () => Promise<void>;
  const exits: GuestExit[] = [];

  const open = async (config: unknown) => {
    const context = await pluginContext({ dataDir, stateDir: `${dataDir}.state`, node: { id: 'n1' } });
    driver = await guestZones.create(context, guestZones.config.parse(config));
    driver.exits.subscribe((exit) => exits.push(exit));
    close = () => context.scope.close();
  };
  const create = (instance: string, script: string) => {
    const command = ['/bin/sh', '-c', script];
    const template = guestTemplate.parse({ image: 'host:', command, requests: {}, limits: {}, ports: [{ port: 80 }] });
    return driver.create({ instance, workload: 'default/launch', node: 'n1', template });
  };
  /** The spawners of this data directory. */
  const spawners = () =>
    readdirSync('/proc').filter((pid) => {
      try {
        return (
          /^\d+$/.test(pid) &&
          readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith(`cloudos zones ${digest(dataDir, 10)}\0`)
        );
      } catch {
        return false;
      }
    });

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'cloudos-launch-'));
  });
  afterEach(async () => {
    await driver.purge();
    await close();
    expect(readdirSync(dataDir)).toEqual([]);
  });
  afterAll(() => Promise.all([dataDir, `${dataDir}.state`].map((path) => rm(path, { recursive: true, force: true }))));

  test.each(['auto', 'script'])(
    'a zone runs, answers for its end and has its address, launcher %s',
    async (launcher) => {
      await open({ launcher });
      const script = 'trap "exit 7" TERM; echo $(hostname) $(cat /proc/1/comm); while :; do sleep 0.05; done';
      await create('zone', script);
      const { address } = await driver.start('zone', 1);
      expect(address?.host).toMatch(/^198\.1[89]\./);
      // The line comes after the trap: whoever has read it may stop the zone.
      for await (const { data } of driver.logs('zone', { follow: true })) if (data.length > 0) break;
      expect(await driver.stop('zone', 60_000)).toMatchObject({ exitCode: 7 });
      await expect.poll(() => exits.at(-1), { timeout: 60_000 }).toMatchObject({ instance: 'zone', exitCode: 7 });
      let text = '';
      for await (const chunk of driver.logs('zone', { follow: true })) text += Buffer.from(chunk.data).toString();
      expect(text).toBe('zone sh\n');
    },
  );

  test('a spawner that is killed takes no zone with it, and the next zone gets another', async () => {
    await open({});
    await create('one', 'exec sleep 1000');
    const { pid } = await driver.start('one', 1);
    const before = spawners();
    expect(before).not.toEqual([]);
    for (const spawner of before) process.kill(Number(spawner), 'SIGKILL');
    await expect.poll(() => spawners().filter((left) => before.includes(left)), { timeout: 60_000 }).toEqual([]);
    expect((await driver.list())[0]).toMatchObject({ state: 'running', pid });
    await create('two', 'exec sleep 1000');
    // One that was asked before its end was noticed says so, and nothing is left of it.
    const started = await driver.start('two', 1).catch(() => driver.start('two', 1));
    expect(started).toMatchObject({ state: 'running' });
    expect((await driver.stop('one', 0))?.signal).toBe('SIGKILL');
  });

  test('what a start has begun is gone when its time is over', async () => {
    await open({ startTimeoutMs: 5_000 });
    await create('first', 'exec sleep 1000');
    await driver.start('first', 1);
    // It stands still when the next zone is asked of it, and reads that when nobody waits any more.
    const still = spawners();
    for (const spawner of still) process.kill(Number(spawner), 'SIGSTOP');
    await create('late', 'exec sleep 1000');
    await expect(driver.start('late', 1)).rejects.toMatchObject({ code: 'GUEST_START_FAILED' });
    for (const spawner of still) process.kill(Number(spawner), 'SIGCONT');
    await create('after', 'exec sleep 1000');
    expect(await driver.start('after', 1)).toMatchObject({ state: 'running' });
    const late = readdirSync(join(dataDir, 'zones')).find((name) => name.startsWith('late')) ?? '';
    expect(existsSync(join(dataDir, 'zones', late, 'run'))).toBe(false);
    expect((await driver.list()).find(({ instance }) => instance === 'late')).toMatchObject({ state: 'created' });
  });

  test('a spawner that cannot be run says so', async () => {
    await open({});
    const spawner = new ZoneSpawner(['/nonexistent/perl'], 'nobody');
    expect(await spawner.launch(dataDir, 'abc', 5_000)).toMatch(/^fail GUEST_START_FAILED .*cannot be run/);
    await spawner.close();
    expect(existsSync(join(dataDir, 'run'))).toBe(false);
  });
});
