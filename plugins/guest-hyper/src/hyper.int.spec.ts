import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pluginContext, type TestPluginContext } from '@cloudos/conformance';
import { ImageStore } from '@cloudos/images';
import type { VmDriver } from '@cloudos/qemu';
import { type GuestExit, type GuestSpec, guestTemplate } from '@cloudos/sdk';
import { obstacleToTestImages, shellImage } from '@cloudos/test-images';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import plugin, { hyperConfig } from './index.ts';
import { findKernel } from './linux-kernel.ts';

const obstacle =
  obstacleToTestImages() ?? (findKernel() ? undefined : 'no kernel: apt-get install linux-image-cloud-amd64');
const mebibyte = 2 ** 20;

describe.skipIf(obstacle !== undefined)(
  `what can happen to guests of guest-hyper${obstacle ? ` (${obstacle})` : ''}`,
  () => {
    let root: string;
    let context: TestPluginContext;
    let driver: VmDriver;
    const exits: GuestExit[] = [];

    beforeAll(async () => {
      root = await mkdtemp(join(tmpdir(), 'cloudos-hyper-'));
      await shellImage(ImageStore.of(join(root, 'state')));
      context = await pluginContext({ node: { id: 'n1' }, dataDir: join(root, 'data'), stateDir: join(root, 'state') });
      driver = (await plugin.create(context, hyperConfig.parse({ memoryBytes: 96 * mebibyte }))) as VmDriver;
      driver.exits.subscribe((exit) => exits.push(exit));
    }, 120_000);
    afterEach(async () => {
      for (const { instance } of await driver.list()) await driver.remove(instance);
    });
    afterAll(async () => {
      await driver.purge();
      await context.scope.close();
      await rm(root, { recursive: true, force: true });
    });

    function spec(instance: string, more: object = {}): GuestSpec {
      const command = ['/bin/counter'];
      const template = guestTemplate.parse({ image: 'shell:1', command, requests: {}, limits: {}, ...more });
      return { instance, workload: 'default/counter', node: 'n1', template };
    }

    async function run(instance: string) {
      await driver.create(spec(instance));
      return driver.start(instance, 1);
    }

    const exitOf = (instance: string) =>
      expect.poll(() => exits.find((exit) => exit.instance === instance), { timeout: 90_000, interval: 20 });

    test('QEMU that is killed is an exit by its signal; the next attempt runs', async () => {
      const { pid = 0 } = await run('killed');
      process.kill(pid, 'SIGKILL');
      await exitOf('killed').toMatchObject({ reason: 'signalled', signal: 'SIGKILL' });
      expect(await driver.start('killed', 2)).toMatchObject({ state: 'running', attempt: 2 });
    }, 120_000);

    test('an agent that does not answer is told within a bound, and the guest can be removed', async () => {
      const { pid = 0 } = await run('stuck');
      process.kill(pid, 'SIGSTOP');
      await expect(driver.exec('stuck', { command: ['true'] })).rejects.toMatchObject({ code: 'GUEST_UNRESPONSIVE' });
      await driver.remove('stuck');
      expect(await driver.list()).toEqual([]);
    }, 120_000);

    test('less memory than Linux boots in, and paths of the node that are not allowed, are refused', async () => {
      const small = spec('small', { limits: { memoryBytes: 64 * mebibyte } });
      await expect(driver.create(small)).rejects.toMatchObject({
        code: 'GUEST_SPEC_INVALID',
        message: expect.stringContaining('79691776'),
      });
      const mounts = [{ hostPath: '/etc', target: '/host' }];
      await expect(driver.create(spec('mounts', { mounts }))).rejects.toMatchObject({ code: 'HOST_PATH_FORBIDDEN' });
    });

    test('clones share neither address, name, clock nor random numbers', async () => {
      await Promise.all([run('one'), run('two')]);
      const said = await Promise.all(
        ['one', 'two'].map(async (instance) => {
          const script = 'hostname; cat /sys/class/net/eth0/address; head -c 16 /dev/urandom | md5sum; date +%s';
          const session = await driver.exec(instance, { command: ['sh', '-c', script] });
          let text = '';
          session.output.subscribe(({ data }) => {
            text += Buffer.from(data).toString();
          });
          expect(await session.exitCode).toBe(0);
          return text.trim().split('\n');
        }),
      );
      const [one = [], two = []] = said;
      expect(one[0]).toBe('one');
      for (const line of [0, 1, 2]) expect(one[line]).not.toBe(two[line]);
      for (const lines of said) expect(Math.abs(Number(lines[3]) * 1000 - Date.now())).toBeLessThan(30_000);
    }, 120_000);
  },
);
