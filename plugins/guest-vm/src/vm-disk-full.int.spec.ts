import { execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pluginContext, type TestPluginContext } from '@cloudos/conformance';
import { ImageStore } from '@cloudos/images';
import type { VmDriver } from '@cloudos/qemu';
import { type GuestHealth, type GuestSpec, guestTemplate } from '@cloudos/sdk';
import { obstacleToTestImages, obstacleToVmImage, vmImage } from '@cloudos/test-images';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import plugin, { vmGuestConfig } from './index.ts';

const obstacle = obstacleToTestImages() ?? obstacleToVmImage();
const mebibyte = 2 ** 20;
const config = vmGuestConfig.parse({ memoryBytes: 128 * mebibyte, diskBytes: 256 * mebibyte });
const waitMax = { timeout: 90_000, interval: 50 };

/** The machines of a node whose disk fills under them. */
describe.skipIf(obstacle !== undefined)(
  `guest-vm on a full disk${obstacle ? ` (cannot run: ${obstacle})` : ''}`,
  () => {
    let root: string;
    let guests: string;
    let context: TestPluginContext;
    let driver: VmDriver;
    let told: GuestHealth[];

    beforeAll(async () => {
      root = await mkdtemp(join(tmpdir(), 'cloudos-vm-full-'));
      guests = join(root, 'data', 'guests');
      await vmImage(ImageStore.of(join(root, 'state')));
      // Where the overlays of disks are is a small file system of its own.
      mkdirSync(guests, { recursive: true });
      const image = join(root, 'small.img');
      const file = openSync(image, 'w');
      ftruncateSync(file, 160 * mebibyte);
      closeSync(file);
      execFileSync('mkfs.ext4', ['-q', '-m', '0', image]);
      execFileSync('mount', ['-o', 'loop', image, guests]);
      execFileSync('chmod', ['711', guests]);
      await begin();
    });
    afterAll(async () => {
      await driver.purge().catch(() => {});
      await context.scope.close();
      execFileSync('umount', [guests]);
      await rm(root, { recursive: true, force: true });
    });

    async function begin(): Promise<void> {
      context = await pluginContext({ node: { id: 'n1' }, dataDir: join(root, 'data'), stateDir: join(root, 'state') });
      driver = (await plugin.create(context, config)) as VmDriver;
      told = [];
      driver.health.subscribe((health) => told.push(health));
    }

    function spec(instance: string): GuestSpec {
      const template = guestTemplate.parse({ image: 'vm:1', command: ['/bin/counter'], requests: {}, limits: {} });
      return { instance, workload: 'default/vm', node: 'n1', template };
    }

    async function run(instance: string, script: string): Promise<{ code: number; text: string }> {
      const session = await driver.exec(instance, { command: ['sh', '-c', script] });
      let text = '';
      session.output.subscribe(({ data }) => {
        text += Buffer.from(data).toString();
      });
      session.end();
      return { code: await session.exitCode, text };
    }

    /** Takes all that is free there but `leave` bytes. */
    function fill(leave: number): void {
      const file = openSync(join(guests, '.fill'), 'a');
      try {
        for (let chunk = mebibyte; chunk >= 4_096; chunk /= 2) {
          while (free() - leave >= chunk) writeSync(file, Buffer.alloc(chunk, 1));
        }
      } finally {
        closeSync(file);
      }
    }
    const free = () => {
      const { bavail, bsize } = statfsSync(guests);
      return bavail * bsize;
    };
    const unfill = () => rmSync(join(guests, '.fill'), { force: true });

    test('a machine is held, which is told, goes on by itself when there is room, and can be stopped meanwhile', async () => {
      await driver.create(spec('a'));
      const { pid } = await driver.start('a', 1);
      await expect.poll(() => told, waitMax).toContainEqual({ instance: 'a', attempt: 1, ok: true });
      fill(4 * mebibyte);
      const write = (name: string) =>
        `(dd if=/dev/urandom of=/${name} bs=1M count=12 && sync && touch /${name}.done) </dev/null >/dev/null 2>&1 &`;
      expect(await run('a', write('one'))).toMatchObject({ code: 0 });
      const held = { instance: 'a', attempt: 1, ok: false, code: 'DISK_FULL' };
      await expect.poll(() => told.at(-1), waitMax).toMatchObject(held);
      const { reason, remedy } = told.at(-1) as GuestHealth & { ok: false };
      expect(reason).toContain(guests);
      expect(remedy).toContain('16 MiB');
      expect(await driver.list()).toMatchObject([{ instance: 'a', state: 'running', pid }]);
      await expect(driver.exec('a', { command: ['true'] })).rejects.toMatchObject({ code: 'DISK_FULL' });
      expect(await driver.stats('a')).toHaveProperty('memoryBytes');

      // Whoever comes next finds it held, and lets it go on.
      await context.scope.close();
      await begin();
      await expect.poll(() => told.at(-1), waitMax).toMatchObject(held);
      expect(await driver.adopt((await driver.list())[0]?.handle)).toMatchObject({ state: 'running', attempt: 1, pid });
      unfill();
      await expect.poll(() => told.at(-1), waitMax).toEqual({ instance: 'a', attempt: 1, ok: true });
      expect(told.map(({ ok }) => ok)).toEqual([false, true]);
      const done = () => run('a', 'test -f /one.done && dd if=/one bs=1M 2>/dev/null | wc -c');
      await expect.poll(done, waitMax).toEqual({ code: 0, text: `${12 * mebibyte}\n` });

      fill(0);
      expect(await run('a', write('two'))).toMatchObject({ code: 0 });
      await expect.poll(() => told.at(-1), waitMax).toMatchObject(held);
      fill(0);
      expect(await driver.stop('a', 100)).toMatchObject({ reason: 'stopped' });
      expect(await driver.list()).toMatchObject([{ state: 'exited', exit: { reason: 'stopped' } }]);
      await expect(driver.start('a', 2)).rejects.toMatchObject({ code: 'DISK_FULL' });
      await driver.remove('a');
      expect(await driver.list()).toEqual([]);
    });
  },
);
