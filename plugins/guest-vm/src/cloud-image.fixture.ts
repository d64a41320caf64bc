import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pluginContext } from '@cloudos/conformance';
import { ImageStore } from '@cloudos/images';
import type { VmDriver } from '@cloudos/qemu';
import { guestTemplate } from '@cloudos/sdk';
import { cloudImage } from '@cloudos/test-images';
import { expect } from 'vitest';
import plugin, { vmGuestConfig } from './index.ts';

/** Boots a complete Debian in a machine, where its own cloud-init sets it up below systemd, and looks at what came of it. */
export async function bootCloudImage(): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'cloudos-vm-cloud-'));
  const [dataDir, stateDir] = [join(root, 'data'), join(root, 'state')];
  await cloudImage(ImageStore.of(stateDir));
  const context = await pluginContext({ node: { id: 'n1' }, dataDir, stateDir });
  const sshKeys = ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJhc2U2NA me'];
  const config = vmGuestConfig.parse({ startTimeoutMs: 600_000, cloudInit: { sshKeys } });
  const driver = (await plugin.create(context, config)) as VmDriver;
  const run = async (command: string) => {
    const session = await driver.exec('cloud', { command: ['/bin/sh', '-c', command] });
    let text = '';
    session.output.subscribe(({ data }) => {
      text += Buffer.from(data).toString();
    });
    session.end();
    return { code: await session.exitCode, text };
  };
  const cpuSeconds = async () => Math.round(((await driver.stats('cloud')).cpuNanos ?? 0) / 1e9);
  try {
    const command = ['/bin/sleep', 'infinity'];
    const template = guestTemplate.parse({ image: 'cloud:1', command, hostname: 'web', requests: {}, limits: {} });
    await driver.create({ instance: 'cloud', workload: 'default/cloud', node: 'n1', template });
    const { address } = await driver.start('cloud', 1);
    console.log(`the program runs after ${await cpuSeconds()} s of a processor`);
    const done = () => run('cat /run/cloud-init/result.json');
    await expect.poll(async () => (await done()).code, { timeout: 900_000, interval: 2_000 }).toBe(0);
    console.log(`cloud-init is done after ${await cpuSeconds()} s of a processor`);
    expect((await done()).text).toContain('DataSourceNoCloud');
    const { text } = await run('hostname; ip -4 address show eth0; ip -4 route; cat ~debian/.ssh/authorized_keys');
    expect(text).toContain('web\n');
    expect(text).toContain(sshKeys[0]);
    if (address && address.host !== '127.0.0.1') {
      expect(text).toContain(`inet ${address.host}/`);
      expect(text).toContain('default via');
    }
    expect(await run('systemctl is-active cloudos-agent')).toEqual({ code: 0, text: 'active\n' });
    expect(await driver.stop('cloud', 60_000)).toMatchObject({ reason: 'stopped' });
  } finally {
    await driver.purge();
    await context.scope.close();
    await rm(root, { recursive: true, force: true });
  }
}
