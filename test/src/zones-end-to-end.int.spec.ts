import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { CloudosClient } from '@cloudos/client';
import type { SharedEvent } from '@cloudos/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { instancesOf, KernelProcess, readyInstances, until } from './support/kernel-process.ts';
import { type Remains, takeStock } from './support/machine.ts';
import { get, Traffic, webManifest } from './support/web.ts';

const isRoot = process.getuid?.() === 0;
const stack = {
  name: 'end-to-end',
  log: 'log-lmdb',
  resources: 'resources-borg',
  orchestrator: { plugin: 'orchestrator-kubernetes', config: { restartBackoffMs: { initial: 500 } } },
  ingress: '@cloudos/ingress-proxy',
  nodes: [{ name: 'local', host: '@cloudos/host-linux', guests: ['@cloudos/guest-zones'] }],
};

describe.skipIf(!isRoot)('a stack of real zones (needs root: run the tests as root)', () => {
  let before: Remains;
  let kernel: KernelProcess;
  let client: CloudosClient;
  const apply = (text: string) => client.command({ slot: 'orchestrator', command: { type: 'Apply', text } });
  const serviceUrl = async (name: string) => {
    let url = '';
    await until(async () => {
      const service = (await client.view()).services.find(({ spec }) => spec.service === `default/${name}`);
      const port = service?.address && Object.values(service.address.ports)[0];
      if (port) url = `http://${service?.address?.host}:${port}/`;
      return port !== undefined;
    });
    return url;
  };

  beforeAll(async () => {
    kernel = new KernelProcess(stack);
    before = takeStock(kernel.stateDir);
    client = await kernel.start();
  }, 300_000);

  afterAll(async () => {
    await kernel.dispose();
  }, 300_000);

  it('applies a deployment: three replicas answer at addresses of their own', async () => {
    await apply(webManifest('web', 3, { release: 'one', port: 18_080 }));
    const instances = await readyInstances(client, 'web', 3);
    const answers = await Promise.all(
      instances.map(({ address }) => get(`http://${address?.host}:${address?.ports?.['8080'] ?? 8080}/`)),
    );
    expect(answers.map(({ body }) => body.split(' ')[1])).toEqual(['one', 'one', 'one']);
    expect(new Set(answers.map(({ body }) => body.split(' ')[0])).size).toBe(3);
    expect(new Set(instances.map(({ address }) => `${address?.host} ${JSON.stringify(address?.ports)}`)).size).toBe(3);
    expect(takeStock(kernel.stateDir).controlGroups).not.toEqual([]);
  }, 300_000);

  it('scales up and down', async () => {
    await client.command({ slot: 'orchestrator', command: { type: 'Scale', workload: 'web', replicas: 5 } });
    await readyInstances(client, 'web', 5);
    await client.command({ slot: 'orchestrator', command: { type: 'Scale', workload: 'web', replicas: 2 } });
    await readyInstances(client, 'web', 2);
  }, 300_000);

  it('rolls an update out, and back, without a failed request', async () => {
    const url = await serviceUrl('web');
    await until(async () => (await get(url).catch(() => undefined))?.status === 200);
    const traffic = new Traffic(url);
    await apply(webManifest('web', 2, { release: 'two', port: 18_080 }));
    await until(
      async () => (await client.view()).workloads[0]?.rollout === 'complete' && (await get(url)).body.endsWith('two'),
    );
    await readyInstances(client, 'web', 2);
    await client.command({ slot: 'orchestrator', command: { type: 'Rollback', workload: 'web' } });
    await until(
      async () => (await client.view()).workloads[0]?.rollout === 'complete' && (await get(url)).body.endsWith('one'),
    );
    await readyInstances(client, 'web', 2);
    await traffic.stop();
    expect(traffic.failures).toEqual([]);
    const releases = new Set(traffic.answers.map(({ body }) => body.split(' ')[1]));
    expect(releases).toEqual(new Set(['one', 'two']));
    expect(traffic.answers.length).toBeGreaterThan(100);
  }, 300_000);

  it('starts a killed guest again, with a backoff when it happens again', async () => {
    const [victim] = await readyInstances(client, 'web', 2);
    if (!victim?.pid) throw new Error('the guest has no pid');
    process.kill(victim.pid, 'SIGKILL');
    const again = async (attempt: number) => {
      const now = (await instancesOf(client, 'web')).find(({ instance }) => instance === victim.instance);
      return now?.attempt === attempt && now.state === 'ready' ? now : undefined;
    };
    await until(() => again(2));
    const second = await again(2);
    expect(second?.pid).not.toBe(victim.pid);
    process.kill(second?.pid ?? -1, 'SIGKILL');
    await until(() => again(3));
    const events: SharedEvent[] = [];
    for await (const event of client.history({ types: ['GuestExited', 'InstanceRestartOrdered'] }))
      events.push(event as SharedEvent);
    const mine = events.filter(({ data }) => (data as { instance: string }).instance === victim.instance);
    expect(mine.map(({ type }) => type)).toEqual([
      'GuestExited',
      'InstanceRestartOrdered',
      'GuestExited',
      'InstanceRestartOrdered',
    ]);
    const waited = (mine[3]?.time ?? 0) - (mine[2]?.time ?? 0);
    expect(waited).toBeGreaterThanOrEqual(450);
  }, 300_000);

  it('shows logs and runs commands in a guest, exit code included', async () => {
    const [instance] = await readyInstances(client, 'web', 2);
    const name = instance?.instance ?? '';
    expect((await kernel.run('logs', name)).stdout).toContain('listening');
    const exec = await kernel.run('exec', name, '--', 'sh', '-c', 'hostname; cat; exit 7');
    expect([exec.code, exec.stdout.trim().length > 0]).toEqual([7, true]);
    const pids = await kernel.run('exec', name, '--', 'sh', '-c', 'ls /proc | grep -c "^[0-9]"');
    expect(Number(pids.stdout)).toBeLessThan(12);
  }, 300_000);

  it('holds memory limits: an allocation past them is killed inside of the guest and reported as such', async () => {
    await apply(hungry('eater', 'const all = []; for (;;) all.push(Buffer.alloc(2 ** 20, 1));', { memory: '96Mi' }));
    await until(async () => {
      const [instance] = await instancesOf(client, 'eater');
      return instance?.exit?.reason === 'oom-killed';
    });
    await client.command({ slot: 'orchestrator', command: { type: 'Remove', name: 'eater' } });
    await until(async () => (await instancesOf(client, 'eater')).length === 0);
  }, 300_000);

  it('holds pids limits', async () => {
    await apply(
      hungry('forker', 'x', {}, ['sh', '-c', 'i=0; while [ $i -lt 60 ]; do sleep 30 & i=$((i+1)); done; wait'], 20),
    );
    let output = '';
    await until(async () => {
      const [instance] = await instancesOf(client, 'forker');
      if (instance?.state !== 'ready' && !instance?.exit) return false;
      output =
        (await kernel.run('logs', instance.instance)).stderr + (await kernel.run('logs', instance.instance)).stdout;
      return /fork/i.test(output);
    });
    expect(output).toMatch(/fork/i);
    await client.command({ slot: 'orchestrator', command: { type: 'Remove', name: 'forker' } });
    await until(async () => (await instancesOf(client, 'forker')).length === 0);
  }, 300_000);

  it('holds cpu limits', async () => {
    await apply(hungry('spinner', 'for (;;);', { cpu: '200m' }));
    const [spinner] = await readyInstances(client, 'spinner', 1);
    const name = spinner?.instance ?? '';
    const usedSeconds = async () => ((await client.stats(name)).cpuNanos ?? 0) / 1e9;
    const startedAt = performance.now();
    const first = await usedSeconds();
    // A busy machine gives it less than its limit, for a while also nothing.
    let used = 0;
    await until(
      async () => {
        used = (await usedSeconds()) - first;
        return used > 0.3;
      },
      120_000,
      () => `${used} s used`,
    );
    // From before the first look to after the last: no less than the time in which that was used.
    expect(used / ((performance.now() - startedAt) / 1_000)).toBeLessThan(0.3);
    await client.command({ slot: 'orchestrator', command: { type: 'Remove', name: 'spinner' } });
    await until(async () => (await instancesOf(client, 'spinner')).length === 0);
  }, 300_000);

  it('refuses a manifest that is wrong, and goes on', async () => {
    const file = path.join(kernel.dir, 'wrong.yaml');
    writeFileSync(file, 'kind: Deployment\n  name: [x');
    const malformed = await kernel.run('apply', '-f', file);
    expect(malformed.code).toBe(4);
    expect(malformed.stderr).toMatch(/MANIFEST_MALFORMED/);
    await readyInstances(client, 'web', 2);
  }, 300_000);

  it('leaves nothing behind after down', async () => {
    const { processes, controlGroups } = takeStock(kernel.stateDir);
    for (const kind of [processes, controlGroups]) expect(kind.length).toBeGreaterThan(0);
    const { code } = await kernel.run('down');
    expect(code).toBe(0);
    await until(() => !kernel.running);
    expect(takeStock(kernel.stateDir)).toEqual(before);
  }, 300_000);
});

function hungry(
  name: string,
  script: string,
  limits: Record<string, string>,
  command = ['node', '-e', script],
  pids = 64,
): string {
  const labels = { app: name };
  const container = { name: 'main', image: 'host:', command, resources: { limits } };
  return JSON.stringify({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels, annotations: { 'cloudos.io/pids-limit': String(pids) } },
        spec: { containers: [container], terminationGracePeriodSeconds: 1 },
      },
    },
  });
}
