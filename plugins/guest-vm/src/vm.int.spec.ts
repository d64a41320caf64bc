import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pluginContext, type TestPluginContext } from '@cloudos/conformance';
import { findTool, runCommand } from '@cloudos/host-tools';
import { ImageStore, importImage } from '@cloudos/images';
import type { VmDriver } from '@cloudos/qemu';
import { type GuestExit, type GuestSpec, guestTemplate } from '@cloudos/sdk';
import { obstacleToTestImages, obstacleToVmImage, vmFiles, vmImage } from '@cloudos/test-images';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import plugin, { vmGuestConfig } from './index.ts';

const obstacle = obstacleToTestImages() ?? obstacleToVmImage();
const mebibyte = 2 ** 20;
const config = vmGuestConfig.parse({ memoryBytes: 128 * mebibyte, diskBytes: 64 * mebibyte });
const waitMax = { timeout: 90_000, interval: 50 };
/** A test boots two machines, each in no more than the driver gives it. */
vi.setConfig({ testTimeout: 2 * config.startTimeoutMs });

describe.skipIf(obstacle !== undefined)(`machines of guest-vm${obstacle ? ` (cannot run: ${obstacle})` : ''}`, () => {
  let root: string;
  let context: TestPluginContext;
  let driver: VmDriver;
  const exits: GuestExit[] = [];

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'cloudos-vm-'));
    const store = ImageStore.of(join(root, 'state'));
    await vmImage(store);
    const files = await vmFiles();
    const from = join(root, 'disk.qcow2');
    await runCommand(findTool('qemu-img') ?? 'qemu-img', ['convert', '-O', 'qcow2', join(files, 'boot.img'), from]);
    await importImage(store, { from, form: 'disk' }, { reference: 'other:1' });
    context = await pluginContext({ node: { id: 'n1' }, dataDir: join(root, 'data'), stateDir: join(root, 'state') });
    driver = (await plugin.create(context, config)) as VmDriver;
    driver.exits.subscribe((exit) => exits.push(exit));
  });
  afterEach(async () => {
    for (const { instance } of await driver.list()) await driver.remove(instance);
  });
  afterAll(async () => {
    await driver.purge();
    await context.scope.close();
    await rm(root, { recursive: true, force: true });
  });

  function spec(instance: string, more: object = {}): GuestSpec {
    const template = guestTemplate.parse({ image: 'vm:1', requests: {}, limits: {}, ...more });
    return { instance, workload: 'default/vm', node: 'n1', template };
  }

  const exitOf = (instance: string) => expect.poll(() => exits.find((exit) => exit.instance === instance), waitMax);

  async function console(instance: string): Promise<string> {
    let text = '';
    for await (const { data } of driver.logs(instance, {})) text += Buffer.from(data).toString();
    return text;
  }

  async function run(instance: string, command: readonly string[]): Promise<{ code: number; text: string }> {
    const session = await driver.exec(instance, { command });
    let text = '';
    session.output.subscribe(({ data }) => {
      text += Buffer.from(data).toString();
    });
    session.end();
    return { code: await session.exitCode, text };
  }

  test('without a command the machine is the guest, on a qcow2 disk that boots by itself: its console, its seed, its agent, its power button', async () => {
    await driver.create(spec('whole', { image: 'other:1', hostname: 'the-name' }));
    const { state, address } = await driver.start('whole', 1);
    expect(state).toBe('running');
    await expect(driver.exec('whole', { command: ['true'] })).rejects.toMatchObject({ code: 'GUEST_UNSUPPORTED' });
    await expect.poll(() => console('whole'), waitMax).toContain('the-name is up');
    // The agent is begun beside what says that.
    const agent = () => run('whole', ['true']).catch(({ code }: { code: string }) => ({ code }));
    await expect.poll(async () => (await agent()).code, waitMax).toBe(0);
    const { text } = await run('whole', ['sh', '-c', 'hostname; ip -4 address show eth0; cat /proc/mounts']);
    expect(text).toContain('the-name\n');
    if (address && address.host !== '127.0.0.1') expect(text).toContain(`inet ${address.host}/`);
    expect(text).toContain('/dev/vda1 / ext4');
    const exit = await driver.stop('whole', 150_000);
    expect(exit).toMatchObject({ reason: 'stopped', exitCode: 0, signal: null });
    expect(await driver.stop('whole', 1_000)).toBeUndefined();
  });

  test('QEMU that is killed is an exit by its signal; the next attempt finds the disk as it was', async () => {
    await driver.create(spec('killed', { command: ['/bin/counter'] }));
    const { pid = 0 } = await driver.start('killed', 1);
    expect(await run('killed', ['sh', '-c', 'echo kept >/mark && sync'])).toMatchObject({ code: 0 });
    // The root has grown from the disk of the image to that of the guest.
    const { text } = await run('killed', ['sh', '-c', 'df -m / | tail -n 1']);
    expect(Number(/\s(\d+)\s+\d+\s+\d+\s+\d+% \//.exec(text)?.[1])).toBeGreaterThan(32);
    process.kill(pid, 'SIGKILL');
    await exitOf('killed').toMatchObject({ reason: 'signalled', signal: 'SIGKILL' });
    await driver.start('killed', 2);
    expect(await run('killed', ['cat', '/mark'])).toEqual({ code: 0, text: 'kept\n' });
    // It turns itself off, with the program in it.
    await run('killed', ['poweroff', '-f']);
    await expect.poll(() => exits.find(({ attempt }) => attempt === 2), waitMax).toMatchObject({ exitCode: 0 });
  });

  test('what cannot be is refused by name', async () => {
    const invalid = { code: 'GUEST_SPEC_INVALID' };
    const limits = (more: object) => spec('refused', { limits: more });
    await expect(driver.create(limits({ memoryBytes: 32 * mebibyte }))).rejects.toMatchObject(invalid);
    await expect(driver.create(limits({ diskBytes: 8 * mebibyte }))).rejects.toMatchObject(invalid);
    await expect(driver.create(limits({ pids: 10 }))).rejects.toMatchObject(invalid);
    await expect(driver.create(spec('refused', { readOnlyRoot: true }))).rejects.toMatchObject(invalid);
    expect(await driver.list()).toEqual([]);
  });
});
