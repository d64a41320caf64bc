import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pluginContext, type TestPluginContext } from '@cloudos/conformance';
import { isAlive, processesWithArgument } from '@cloudos/host-tools';
import { ImageStore } from '@cloudos/images';
import type { VmDriver } from '@cloudos/qemu';
import { type GuestExit, type GuestSpec, guestTemplate } from '@cloudos/sdk';
import { obstacleToTestImages, shellImage } from '@cloudos/test-images';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import plugin, { hyperConfig } from './index.ts';
import { findKernel } from './linux-kernel.ts';

const obstacle =
  obstacleToTestImages() ?? (findKernel() ? undefined : 'no kernel: apt-get install linux-image-cloud-amd64');
const waits = { timeout: 90_000, interval: 50 };

describe.skipIf(obstacle !== undefined)(`paths of the node in a guest${obstacle ? ` (${obstacle})` : ''}`, () => {
  const given = mkdtempSync(join(tmpdir(), 'cloudos-given-'));
  let root: string;
  let context: TestPluginContext;
  let driver: VmDriver;
  const exits: GuestExit[] = [];

  async function attach(): Promise<void> {
    context = await pluginContext({ node: { id: 'n1' }, dataDir: join(root, 'data'), stateDir: join(root, 'state') });
    const config = hyperConfig.parse({ memoryBytes: 96 * 2 ** 20, hostPaths: [given] });
    driver = (await plugin.create(context, config)) as VmDriver;
    driver.exits.subscribe((exit) => exits.push(exit));
  }

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'cloudos-hyper-'));
    await shellImage(ImageStore.of(join(root, 'state')));
    mkdirSync(join(given, 'shared'));
    writeFileSync(join(given, 'file'), 'a file');
    await attach();
  });
  afterEach(async () => {
    for (const { instance } of await driver.list()) await driver.remove(instance);
  });
  afterAll(async () => {
    await driver.purge();
    await context.scope.close();
    for (const path of [root, given]) await rm(path, { recursive: true, force: true });
  });

  const shared = (target: string, readOnly: boolean) => ({ hostPath: join(given, 'shared'), target, readOnly });

  async function run(instance: string, more: object) {
    const sleep = ['sh', '-c', "trap 'exit 0' TERM; sleep 1000000 & wait"];
    const template = guestTemplate.parse({ image: 'shell:1', command: sleep, requests: {}, limits: {}, ...more });
    const spec: GuestSpec = { instance, workload: 'default/mounts', node: 'n1', template };
    await driver.create(spec);
    return driver.start(instance, 1);
  }

  async function sh(instance: string, script: string, container?: string): Promise<string> {
    const session = await driver.exec(instance, {
      command: ['sh', '-c', script],
      ...(container === undefined ? {} : { container }),
    });
    let text = '';
    session.output.subscribe(({ data }) => {
      text += Buffer.from(data).toString();
    });
    return `${await session.exitCode}: ${text.trim()}`;
  }

  const daemons = (instance: string) => {
    const [name = ''] = readdirSync(join(root, 'data/guests')).filter((each) => each.startsWith(instance));
    return processesWithArgument(`source=${join(root, 'data/guests', name, 'fs/share')}`);
  };

  test('each container has its own, files too; what changes on either side is seen on the other, and nothing beside', async () => {
    symlinkSync('/etc', join(given, 'shared/link'));
    const file = { hostPath: join(given, 'file'), target: '/deep/down/file' };
    const containers = [{ name: 'other', image: 'shell:1', command: ['sleep', '1000000'], mounts: [file] }];
    await run('both', { container: 'first', containers, readOnlyRoot: true, mounts: [shared('/data', false)] });
    expect(await sh('both', 'echo one >/data/a && mkdir /data/sub && mv /data/a /data/sub/b')).toBe('0: ');
    expect(readFileSync(join(given, 'shared/sub/b'), 'utf8')).toBe('one\n');
    writeFileSync(join(given, 'shared/sub/b'), 'two');
    await expect.poll(() => sh('both', 'cat /data/sub/b'), waits).toBe('0: two');
    // A link leads where it leads in the guest, and the daemon sees nothing above what it serves.
    expect(await sh('both', 'cat /data/link/hostname')).toBe('0: both');
    expect(await sh('both', 'ls /data/.. | grep -c -e tmp -e data')).toBe('0: 2');
    expect(await sh('both', 'cat /deep/down/file')).toMatch(/^1: /);
    expect(await sh('both', 'cat /deep/down/file; ls /data', 'other')).toMatch(/^1: a file/);
    expect(await sh('both', 'echo x >/deep/down/file', 'other')).toMatch(/Read-only file system/);
    expect(await sh('both', 'mknod /data/device b 7 0')).toMatch(/not permitted/);
    await expect(driver.snapshot('both', 'now')).rejects.toMatchObject({ code: 'GUEST_UNSUPPORTED' });
    await driver.pause('both');
    await driver.resume('both');
    expect(await sh('both', 'cat /data/sub/b')).toBe('0: two');
  }, 120_000);

  test('go on without the driver, and with the next run; a guest whose daemon dies ends, and says why; nothing is left', async () => {
    rmSync(join(given, 'shared'), { recursive: true });
    mkdirSync(join(given, 'shared'));
    const { pid } = await run('alone', { mounts: [shared('/data', false)] });
    await context.scope.close();
    await attach();
    expect(await sh('alone', 'echo kept >/data/kept')).toBe('0: ');
    const serving = daemons('alone');
    expect(serving.length).toBeGreaterThan(0);
    const groups = (of: number | undefined) => readFileSync(`/proc/${of}/cgroup`, 'utf8');
    for (const daemon of serving) expect(groups(daemon.pid)).toBe(groups(pid));
    expect(await driver.stop('alone', 10_000)).toMatchObject({ reason: 'stopped', exitCode: 0 });
    await expect.poll(() => serving.filter(isAlive), waits).toEqual([]);
    await driver.start('alone', 2);
    expect(await sh('alone', 'cat /data/kept')).toBe('0: kept');
    const named = ({ pid: of }: { pid: number }) => readFileSync(`/proc/${of}/comm`, 'utf8').trim();
    const again = daemons('alone');
    process.kill(again.find((each) => named(each) === 'virtiofsd')?.pid ?? Number.NaN, 'SIGKILL');
    await expect
      .poll(() => exits.find(({ attempt }) => attempt === 2), waits)
      .toMatchObject({ reason: 'signalled', message: 'what serves the mounts of the guest ended by signal 9' });
    await driver.remove('alone');
    expect(again.filter(isAlive)).toEqual([]);
    expect(readdirSync(join(given, 'shared'))).toEqual(['kept']);
    expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(root);
  }, 120_000);
});
