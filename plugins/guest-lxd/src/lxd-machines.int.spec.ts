import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busyboxPrograms, type GuestProgram, pluginContext, type TestPluginContext } from '@cloudos/conformance';
import { isAlive, type ProcessIdentity, runCommand, signalProcess } from '@cloudos/host-tools';
import { ImageStore, importImage, rootDirectory } from '@cloudos/images';
import { type GuestExit, type GuestSpec, guestTemplate } from '@cloudos/sdk';
import { shellImage } from '@cloudos/test-images';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { flavourUnderTest, obstacleTo } from './conformance.fixture.ts';
import { guestLxd } from './index.ts';
import type { LxdDriver } from './lxd.driver.ts';
import { lxdConfig } from './options.ts';

const flavour = flavourUnderTest();
const obstacle = obstacleTo(flavour);

describe.skipIf(obstacle !== undefined)(`machines of ${flavour} (${obstacle ?? 'real daemon'})`, () => {
  let root: string;
  let context: TestPluginContext;
  let driver: LxdDriver;
  const exits: GuestExit[] = [];

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'cloudos-lxd-'));
    const store = ImageStore.of(join(root, 'state'));
    const shell = await shellImage(store);
    // The same userland, with nothing that says what to run in it: a machine that its own init boots.
    const userland = join(root, 'userland');
    await runCommand('/bin/cp', ['-a', await rootDirectory(store, shell), userland]);
    await mkdir(join(userland, 'sbin'), { recursive: true });
    await symlink('../bin/busybox', join(userland, 'sbin/init'));
    await importImage(store, { from: userland, form: 'root-directory' }, { reference: 'machine:1' });
    context = await pluginContext({ node: { id: 'n1' }, dataDir: join(root, 'data'), stateDir: join(root, 'state') });
    driver = (await guestLxd.create(context, lxdConfig.parse({ daemon: 'own', flavour, retryMs: 100 }))) as LxdDriver;
    driver.exits.subscribe((exit) => exits.push(exit));
  });
  afterAll(async () => {
    await driver.purge();
    await context.scope.close();
    await rm(root, { recursive: true, force: true });
  });

  const spec = (instance: string, program: Partial<GuestProgram>, image = 'shell:1'): GuestSpec => ({
    instance,
    workload: 'default/machines',
    node: 'n1',
    template: guestTemplate.parse({ image, ...program, requests: {}, limits: {} }),
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
  const outputOf = async (instance: string, command: readonly string[]) => {
    const session = await driver.exec(instance, { command });
    let text = '';
    session.output.subscribe(({ data }) => {
      text += Buffer.from(data).toString();
    });
    session.end();
    await session.exitCode;
    return text;
  };
  /** As a crash would. */
  const killDaemon = async () => {
    const identity = JSON.parse(readFileSync(join(root, `data/${flavour}.json`), 'utf8')) as ProcessIdentity;
    signalProcess(identity, 'SIGKILL');
    await until('the end of the daemon', () => !isAlive(identity));
  };

  test('an image without a program is a machine that its own init boots', async () => {
    await driver.create(spec('machine', {}, 'machine:1'));
    expect(await driver.start('machine', 1)).toMatchObject({ state: 'running', attempt: 1 });
    expect((await outputOf('machine', ['cat', '/proc/1/comm'])).trim()).toBe('init');
    expect((await outputOf('machine', ['touch', '/kept'])).trim()).toBe('');
    expect(await driver.stop('machine', 20_000)).toMatchObject({ reason: 'stopped' });
    // What a machine has written is there when it runs again.
    await driver.start('machine', 2);
    expect((await outputOf('machine', ['ls', '/kept'])).trim()).toBe('/kept');
    await driver.remove('machine');
  });

  test('a guest runs on while its daemon is killed and comes back; an end that nobody saw is told', async () => {
    await driver.create(spec('survivor', busyboxPrograms.sleepForever()));
    const { pid } = await driver.start('survivor', 1);
    await killDaemon();
    const found = async () => (await driver.list().catch(() => [])).find(({ instance }) => instance === 'survivor');
    expect(await until('the guest in the list', found)).toMatchObject({ state: 'running', attempt: 1, pid });
    await killDaemon();
    process.kill(pid ?? -1, 'SIGKILL');
    await until('the exit', () => exits.find(({ instance }) => instance === 'survivor'));
    expect(exits.filter(({ instance }) => instance === 'survivor')).toHaveLength(1);
    expect(await driver.start('survivor', 2)).toMatchObject({ state: 'running', attempt: 2 });
    await driver.remove('survivor');
  });
});
