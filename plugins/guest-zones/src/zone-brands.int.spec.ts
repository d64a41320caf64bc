import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pluginContext } from '@cloudos/conformance';
import { ImageStore, type OciImage } from '@cloudos/images';
import { type GuestDriver, type GuestExit, type GuestTemplate, guestTemplate } from '@cloudos/sdk';
import { counterImage, obstacleToTestImages, shellImage } from '@cloudos/test-images';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import guestZones from './index.ts';

const isRoot = process.geteuid?.() === 0;
const obstacle = isRoot ? obstacleToTestImages() : 'needs root: run as root';
const title = `brands of zones${obstacle ? ` (cannot run: ${obstacle})` : ''}`;

describe.skipIf(obstacle !== undefined)(title, () => {
  let directory: string;
  let driver: GuestDriver;
  let images: ImageStore;
  let counter: OciImage;
  let close: () => Promise<void>;
  const exits: GuestExit[] = [];

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'cloudos-brands-'));
    const stateDir = join(directory, 'state');
    images = ImageStore.of(stateDir);
    counter = await counterImage(images);
    await shellImage(images);
    const context = await pluginContext({ dataDir: join(directory, 'data'), stateDir, node: { id: 'n1' } });
    driver = await guestZones.create(context, guestZones.config.parse({ startTimeoutMs: 60_000 }));
    driver.exits.subscribe((exit) => exits.push(exit));
    close = () => context.scope.close();
  });
  afterAll(async () => {
    await driver.purge();
    await close();
    await rm(directory, { recursive: true });
  });

  const make = (instance: string, template: Partial<GuestTemplate>) =>
    driver.create({
      instance,
      workload: 'default/brands',
      node: 'n1',
      template: guestTemplate.parse({ image: 'host:', requests: {}, limits: {}, ...template }),
    });
  const output = async (instance: string, template: Partial<GuestTemplate>) => {
    await make(instance, template);
    await driver.start(instance, 1);
    let text = '';
    for await (const chunk of driver.logs(instance, { follow: true })) text += Buffer.from(chunk.data).toString();
    await driver.remove(instance);
    return text;
  };
  const script = (text: string) => ({ command: ['/bin/sh', '-c', text] });

  test('a whole-root zone changes its own copy of the programs, and not those of the host', async () => {
    const options = { brand: 'whole-root' };
    const change =
      'echo "echo mine" >/usr/bin/mark && chmod +x /usr/bin/mark && rm /usr/bin/env && mark; ls /usr/bin/env';
    expect(await output('whole', { ...script(`${change} 2>&1`), options })).toMatch(/^mine\nls: .*No such file/);
    expect(existsSync('/usr/bin/mark')).toBe(false);
    expect(existsSync('/usr/bin/env')).toBe(true);
    const limits = { cpuMillis: 0, memoryBytes: 0, pids: 0, diskBytes: 16 * 2 ** 20 };
    const fill = 'dd if=/dev/zero of=/usr/fill bs=1M count=60 2>&1 | tail -1; stat -c %s /usr/fill';
    const [, size] = (await output('whole-limited', { ...script(fill), options, limits })).trim().split('\n');
    expect(Number(size)).toBeLessThan(limits.diskBytes);
    expect(Number(size)).toBeGreaterThan(2 ** 20);
  });

  test('an lx zone runs a static program that has nothing around it', async () => {
    await make('counter', { image: 'counter:1', ports: [{ port: 80, protocol: 'tcp' }] });
    const { address } = await driver.start('counter', 1);
    const ask = async (method: string, path: string) =>
      (await fetch(`http://${address?.host}${path}`, { method, signal: AbortSignal.timeout(30_000) })).text();
    await expect.poll(() => ask('GET', '/').catch(() => ''), { timeout: 60_000 }).toBe('0');
    expect(await ask('POST', '/inc')).toBe('1');
    expect(await driver.stop('counter', 5_000)).toMatchObject({ reason: 'stopped' });
    await driver.remove('counter');
  });

  test('an lx zone sees nothing of the host, and the tools it began with are read-only', async () => {
    const look = 'ls -A /; (echo x >/.zone/seccomp) 2>&1; (echo x >/etc/ld.so.preload) 2>&1; ls -A /.host; id -u';
    const text = await output('lx', { image: 'shell:1', ...script(look), user: 1000 });
    expect(text).toContain('Read-only file system');
    expect(text).not.toMatch(/^(boot|lib|lib64|sbin|srv|var\/lib)$/m);
    expect(text.trim().endsWith('1000')).toBe(true);
  });

  test('an image that a zone uses is kept, whatever becomes of its name', async () => {
    await make('holder', { image: 'counter:1' });
    expect(await images.holds()).toEqual(new Map([[counter.digest, ['zones n1/holder']]]));
    await expect(images.remove('counter:1')).rejects.toMatchObject({ code: 'IMAGE_IN_USE' });
    await images.gc();
    expect(await driver.start('holder', 1)).toMatchObject({ state: 'running' });
    await driver.remove('holder');
    expect(await images.holds()).toEqual(new Map());
  });

  test('the terms of SmartOS limit a zone as it does, the narrower of two limits holds', async () => {
    await make('capped', { ...script('sleep 1000'), options: { max_physical_memory: 32, cpu_cap: 50, max_lwps: 20 } });
    const { pid } = await driver.start('capped', 1);
    const groups = execFileSync('cat', [`/proc/${pid}/cgroup`]).toString();
    const file = (controller: string, name: string) => {
      const line = groups.split('\n').find((entry) => entry.split(':')[1]?.split(',').includes(controller));
      return execFileSync('sh', ['-c', `cat /sys/fs/cgroup/${controller}*${line?.split(':')[2]}/${name}`])
        .toString()
        .trim();
    };
    if (groups.includes('memory')) {
      expect(file('memory', 'memory.limit_in_bytes')).toBe(String(32 * 2 ** 20));
      expect(file('cpu', 'cpu.cfs_quota_us')).toBe('50000');
      expect(file('pids', 'pids.max')).toBe('21');
    }
    await driver.remove('capped');
  });

  test('what does not go together is refused, and leaves nothing', async () => {
    const sleep = script('sleep 1000');
    const cases: [Partial<GuestTemplate>, string][] = [
      [{ ...sleep, options: { brand: 'lx' } }, 'GUEST_SPEC_INVALID'],
      [{ ...sleep, image: 'shell:1', options: { brand: 'sparse' } }, 'GUEST_SPEC_INVALID'],
      [{ ...sleep, options: { brand: 'joyent' } }, 'GUEST_SPEC_INVALID'],
      [{ ...sleep, options: { surprise: 1 } }, 'GUEST_SPEC_INVALID'],
      [{ ...sleep, image: 'nothing:1' }, 'IMAGE_NOT_FOUND'],
      [{ ...sleep, limits: { cpuMillis: 0, memoryBytes: 0, pids: 0, diskBytes: 1_000 } }, 'GUEST_SPEC_INVALID'],
    ];
    for (const [template, code] of cases) {
      await expect(make('wrong', template), JSON.stringify(template)).rejects.toMatchObject({ code });
    }
    expect(await driver.list()).toEqual([]);
    expect(await images.holds()).toEqual(new Map());
  });

  test('a full disk keeps a zone from being made, and the node goes on', async () => {
    const small = join(directory, 'small');
    mkdirSync(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12m,nr_inodes=2000', 'tmpfs', small]);
    const context = await pluginContext({
      dataDir: join(small, 'data'),
      stateDir: join(directory, 'small-state'),
      node: { id: 'n2' },
    });
    try {
      const other = await guestZones.create(context, guestZones.config.parse({ startTimeoutMs: 60_000 }));
      const template = guestTemplate.parse({ image: 'host:', ...script('sleep 1000'), requests: {}, limits: {} });
      const spec = (instance: string) => ({ instance, workload: 'w', node: 'n2', template });
      await other.create(spec('before'));
      execFileSync('sh', ['-c', `dd if=/dev/zero of=${small}/fill bs=4k 2>/dev/null; true`]);
      await expect(other.create(spec('full'))).rejects.toMatchObject({ code: 'DISK_FULL' });
      await expect(other.start('before', 1)).rejects.toMatchObject({ code: 'DISK_FULL' });
      expect((await other.list()).map(({ instance }) => instance)).toEqual(['before']);
      execFileSync('rm', [`${small}/fill`]);
      expect(await other.start('before', 1)).toMatchObject({ state: 'running' });
      await other.purge();
    } finally {
      await context.scope.close();
      execFileSync('umount', [small]);
    }
  });
});
