import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { busyboxPrograms, type GuestProgram, pluginContext, type TestPluginContext } from '@cloudos/conformance';
import { isAlive, type ProcessIdentity, signalProcess, unmountBelow } from '@cloudos/host-tools';
import { ImageStore, importImage } from '@cloudos/images';
import { type GuestExit, type GuestSpec, guestTemplate } from '@cloudos/sdk';
import { shellImage } from '@cloudos/test-images';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { flavourUnderTest, obstacleTo } from './conformance.fixture.ts';
import { fillPool } from './full-disk.fixture.ts';
import { guestLxd } from './index.ts';
import type { LxdDriver } from './lxd.driver.ts';
import { LxdClient } from './lxd-client.ts';
import { lxdConfig } from './options.ts';
import { OwnDaemon } from './own-daemon.ts';

const flavour = flavourUnderTest();
const obstacle = obstacleTo(flavour);
const diskMaxBytes = 2 ** 29;

describe.skipIf(obstacle !== undefined)(`faults under instances of ${flavour} (${obstacle ?? 'real daemon'})`, () => {
  let root: string;
  let context: TestPluginContext;
  let driver: LxdDriver;
  let daemon: OwnDaemon;
  let exits: GuestExit[];
  const at = (...names: string[]) => join(root, ...names);
  const store = () => ImageStore.of(at('state'));
  const attach = async () => {
    exits = [];
    context = await pluginContext({ node: { id: 'n1' }, dataDir: at('data'), stateDir: at('state') });
    const config = lxdConfig.parse({ daemon: 'own', flavour, retryMs: 100, diskMaxBytes });
    driver = (await guestLxd.create(context, config)) as LxdDriver;
    driver.exits.subscribe((exit) => exits.push(exit));
  };
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'cloudos-lxd-'));
    await shellImage(store());
    await attach();
    daemon = new OwnDaemon({ dataDir: at('data'), pool: 'default', diskMaxBytes, flavour });
  });
  afterAll(async () => {
    await driver.purge();
    await context.scope.close();
    await rm(root, { recursive: true, force: true });
  });

  const spec = (
    instance: string,
    program: GuestProgram,
    asked: { image?: string; diskBytes?: number } = {},
  ): GuestSpec => ({
    instance,
    workload: 'default/faults',
    node: 'n1',
    template: guestTemplate.parse({
      image: asked.image ?? 'shell:1',
      ...program,
      requests: {},
      limits: { diskBytes: asked.diskBytes ?? 0 },
    }),
  });
  const until = async <T>(what: string, poll: () => T | Promise<T>): Promise<T> => {
    const deadline = Date.now() + 60_000;
    for (;;) {
      const answer = await poll();
      if (answer) return answer;
      if (Date.now() > deadline) throw new Error(`did not happen in a minute: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const printed = async (instance: string, text: RegExp) => {
    let found = '';
    await until(`${instance} prints ${text}`, async () => {
      found = '';
      for await (const { data } of driver.logs(instance, {})) found += Buffer.from(data).toString();
      return text.test(found);
    });
    return found;
  };
  const identity = () => JSON.parse(readFileSync(at(`data/${flavour}.json`), 'utf8')) as ProcessIdentity;
  /** As a crash would. */
  const killDaemon = async () => {
    const process_ = identity();
    signalProcess(process_, 'SIGKILL');
    await until('the end of the daemon', () => !isAlive(process_));
  };
  const names = async () => (await driver.list()).map(({ instance }) => instance);

  test('a daemon that is killed while ten guests are created costs those under way, and each can be had after it', async () => {
    await driver.create(spec('first', busyboxPrograms.sleepForever()));
    const specs = Array.from({ length: 10 }, (_, index) => spec(`ten-${index}`, busyboxPrograms.sleepForever()));
    const results = Promise.allSettled(specs.map((each) => driver.create(each)));
    await killDaemon();
    for (const result of await results) {
      if (result.status === 'rejected')
        expect(['RUNTIME_UNAVAILABLE', 'HOST_COMMAND_FAILED']).toContain(result.reason.code);
    }
    for (const each of specs) {
      await until(`${each.instance} to be there`, async () => {
        const status = await driver.create(each).catch(() => undefined);
        return status?.state === 'created';
      });
    }
    expect((await names()).sort()).toEqual(['first', ...specs.map(({ instance }) => instance)].sort());
    const client = new LxdClient(daemon.socket, 30_000);
    expect(await client.get<string[]>('/1.0/instances')).toHaveLength(11);
    await Promise.all(['first', ...specs.map(({ instance }) => instance)].map((each) => driver.remove(each)));
  });

  test('a disk that is full while a guest is created is told, and the node goes on when there is room', async () => {
    const source = await mkdtemp(at('large-'));
    writeFileSync(join(source, 'file'), randomBytes(32 * 2 ** 20));
    await importImage(store(), { from: source, form: 'root-directory' }, { reference: 'large:1' });
    await driver.create(spec('small', busyboxPrograms.sleepForever()));
    const free = await fillPool(at('data'), flavour);
    const large = spec('large', busyboxPrograms.sleepForever(), { image: 'large:1' });
    await expect(driver.create(large)).rejects.toMatchObject({ code: 'DISK_FULL' });
    expect(await names()).toEqual(['small']);
    await free();
    await until('room', async () => (await driver.create(large).catch(() => undefined))?.state === 'created');
    await driver.remove('large');
    await driver.remove('small');
  });

  test('a limit of disk holds over a restart, a snapshot and the state that it puts back', async () => {
    const diskBytes = 16 * 2 ** 20;
    await driver.create(spec('limited', busyboxPrograms.fill('/fill', 8 * 2 ** 20), { diskBytes }));
    await driver.start('limited', 1);
    await printed('limited', /written: all/);
    await driver.snapshot('limited', 'half');
    await driver.stop('limited', 0);
    await driver.restore('limited', 'half');
    await driver.start('limited', 2);
    const session = await driver.exec('limited', { command: ['dd', 'if=/dev/zero', 'of=/more', 'bs=1M', 'count=32'] });
    let said = '';
    session.output.subscribe(({ data }) => {
      said += Buffer.from(data).toString();
    });
    session.end();
    expect(await session.exitCode).not.toBe(0);
    expect(said).toMatch(/Disk quota exceeded/);
    const limits = { cpuMillis: 0, memoryBytes: 0, pids: 0 };
    await driver.resize('limited', { limits: { ...limits, diskBytes: 4 * diskBytes } });
    const wide = await driver.exec('limited', { command: ['dd', 'if=/dev/zero', 'of=/more', 'bs=1M', 'count=32'] });
    wide.end();
    expect(await wide.exitCode).toBe(0);
    const tooLittle = driver.resize('limited', { limits: { ...limits, diskBytes } });
    await expect(tooLittle).rejects.toMatchObject({ code: 'GUEST_STATE' });
    await (await driver.exec('limited', { command: ['rm', '/more'] })).exitCode;
    await until('the room to be given back', () => {
      execFileSync('btrfs', ['filesystem', 'sync', join(dirname(daemon.socket), 'storage-pools/default')]);
      return driver.resize('limited', { limits: { ...limits, diskBytes } }).catch(() => undefined);
    });
    // What changed owners in its image counts as its own with the daemon: some bookkeeping of the file system.
    expect((await driver.stats('limited')).diskBytes ?? 0).toBeLessThanOrEqual(diskBytes + 2 ** 20);
    await driver.remove('limited');
  });

  test('a limit that is too small is refused by name', async () => {
    await expect(
      driver.create(spec('tiny', busyboxPrograms.sleepForever(), { diskBytes: 4096 })),
    ).rejects.toMatchObject({
      code: 'GUEST_SPEC_INVALID',
    });
  });

  test('a daemon is found again after a start of the machine, with the guests that it had', async () => {
    await driver.create(spec('before', busyboxPrograms.sleepForever()));
    const { pid = -1 } = await driver.start('before', 1);
    // As the machine would be: no driver, no daemon, no process of a guest, nothing mounted.
    await context.scope.close();
    await killDaemon();
    process.kill(pid, 'SIGKILL');
    await until('the end of the guest', () => !existsSync(`/proc/${pid}`));
    await unmountBelow(dirname(daemon.socket));
    expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(dirname(daemon.socket));
    await attach();
    expect(await driver.list()).toMatchObject([{ instance: 'before', state: 'exited' }]);
    expect(await driver.start('before', 2)).toMatchObject({ state: 'running', attempt: 2 });
    await driver.remove('before');
  });

  test('nothing is left of a daemon when all is removed, and the next guest has a new one', async () => {
    const devices = () => execFileSync('losetup', ['-a']).toString();
    const directory = dirname(daemon.socket);
    expect(devices()).toContain(directory);
    const process_ = identity();
    await driver.purge();
    expect(devices()).not.toContain(directory);
    expect(existsSync(directory)).toBe(false);
    expect(isAlive(process_)).toBe(false);
    expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(directory);
    await driver.create(spec('anew', busyboxPrograms.sleepForever()));
    expect(await driver.start('anew', 1)).toMatchObject({ state: 'running' });
    await driver.remove('anew');
  });
});
