import { mkdirSync } from 'node:fs';
import type { CloudosClient } from '@cloudos/client';
import { ImageStore } from '@cloudos/images';
import { type InstanceView, workloadSpec } from '@cloudos/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type CounterGuest,
  counterGuests,
  guestPlugins,
  importCounters,
  obstacleToCounters,
} from './support/counter-guests.ts';
import { KernelProcess, readyInstances, until } from './support/kernel-process.ts';
import { type Remains, takeStock } from './support/machine.ts';

const obstacle = obstacleToCounters();
const runtimes = counterGuests().filter((entry): entry is CounterGuest => entry.image !== undefined);
const stack = {
  name: 'all-runtimes',
  log: 'log-lmdb',
  resources: 'resources-borg',
  orchestrator: 'orchestrator-kubernetes',
  nodes: [
    {
      name: 'local',
      host: '@cloudos/host-linux',
      guests: runtimes.map(({ plugin, config }) => ({ plugin, config })),
    },
  ],
};

const declaration = ({ runtime, image, command }: CounterGuest) =>
  workloadSpec.parse({
    workload: `default/${runtime}`,
    kind: 'Deployment',
    revision: 1,
    replicas: 1,
    strategy: { kind: 'recreate' },
    template: {
      image,
      runtime,
      ...(command ? { command } : {}),
      ports: [{ port: 80 }],
      requests: { cpuMillis: 50, memoryBytes: 32 * 2 ** 20 },
      limits: { memoryBytes: 128 * 2 ** 20 },
      readiness: { check: { kind: 'http', port: 80 }, periodMs: 200 },
      stopGraceMs: 2_000,
    },
  });

describe.skipIf(obstacle !== undefined)(
  `one stack with a guest of every runtime${obstacle ? ` (cannot run: ${obstacle})` : ''}`,
  () => {
    let before: Remains;
    let kernel: KernelProcess;
    let client: CloudosClient;
    const absent = new Map<string, string>();
    const guests = new Map<string, InstanceView>();
    const there = () => runtimes.filter(({ runtime }) => !absent.has(runtime));
    const urlOf = ({ address }: InstanceView, at: string) =>
      `http://${address?.host}:${address?.ports?.['80'] ?? 80}${at}`;
    const ask = async (guest: InstanceView, method: string, at: string, body?: string) => {
      const signal = AbortSignal.timeout(60_000);
      const response = await fetch(urlOf(guest, at), { method, signal, ...(body === undefined ? {} : { body }) });
      return response.text();
    };

    beforeAll(async () => {
      kernel = new KernelProcess(stack);
      before = takeStock(kernel.stateDir);
      mkdirSync(kernel.stateDir, { recursive: true, mode: 0o700 });
      await importCounters(kernel.stateDir);
      client = await kernel.start();
      await until(async () => (await client.view()).nodes.some(({ node }) => node === 'local'));
      const { nodes } = await kernel.run('doctor', '-o', 'json').then(({ stdout }) => JSON.parse(stdout) as Doctor);
      for (const { runtime } of runtimes) {
        const check = nodes[0]?.checks.find(({ name }) => name === `runtime ${runtime}`);
        if (check?.status !== 'ok') absent.set(runtime, `${check?.found}: ${check?.remedy}`);
      }
    }, 120_000);
    afterAll(() => kernel.dispose(), 120_000);

    it('knows how the counter runs on every guest plugin there is', () => {
      expect(counterGuests().map(({ runtime, image }) => `${runtime} ${image ?? 'is unknown here'}`)).toEqual(
        guestPlugins().map((runtime) => expect.stringMatching(new RegExp(`^${runtime} \\S+:\\d+$`))),
      );
    });

    it.each(runtimes)(
      'the counter answers on $runtime',
      async ({ runtime, ...more }) => {
        expect(absent.get(runtime)).toBeUndefined();
        await client.command({
          slot: 'orchestrator',
          command: { type: 'Declare', spec: declaration({ runtime, ...more }) },
        });
        // The first machine of a kind takes a boot, or two, of an emulated processor.
        const [guest] = await readyInstances(client, runtime, 1, 240_000);
        if (!guest) throw new Error('no guest');
        expect(guest.runtime).toBe(runtime);
        expect(await ask(guest, 'GET', '/')).toBe('0');
        expect(await ask(guest, 'POST', '/inc')).toBe('1');
        expect(await ask(guest, 'PUT', '/kv/colour', runtime)).toBe('ok\n');
        guests.set(runtime, guest);
      },
      300_000,
    );

    it('each guest in which a command runs reaches all the others at their addresses', async () => {
      const others = (than: string) => [...guests].filter(([runtime]) => runtime !== than);
      const asking = [...guests].filter(([runtime]) => runtime !== 'unikernel');
      expect(guests.size).toBe(runtimes.length);
      const script = 'for url; do wget -q -O - "$url"; echo; done';
      for (const [runtime, { instance }] of asking) {
        const urls = others(runtime).map(([, other]) => urlOf(other, '/kv/colour'));
        const { stdout } = await kernel.run('exec', instance, '--', '/bin/sh', '-c', script, 'sh', ...urls);
        expect(stdout, `from ${runtime}`).toBe(
          others(runtime)
            .map(([other]) => `${other}\n`)
            .join(''),
        );
      }
    }, 240_000);

    it('a Pod of two containers is one guest of a runtime that has such: each is reached by its name', async () => {
      const containers = [
        { name: 'counter', image: 'counter:1', ports: [{ containerPort: 80 }] },
        {
          name: 'beside',
          image: 'shell:1',
          command: ['/bin/sh', '-c', 'rm -f /tmp/broken; echo up; sleep 1000000'],
          livenessProbe: {
            exec: { command: ['test', '!', '-e', '/tmp/broken'] },
            periodSeconds: 1,
            // It fails for what it finds, not because the machine is busy.
            timeoutSeconds: 60,
            failureThreshold: 1,
          },
          readinessProbe: { exec: { command: ['test', '-d', '/tmp'] }, periodSeconds: 1, timeoutSeconds: 60 },
        },
      ];
      const spec = { containers, terminationGracePeriodSeconds: 2 };
      const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'pair' }, spec };
      await client.command({ slot: 'orchestrator', command: { type: 'Apply', text: JSON.stringify(pod) } });
      const [guest] = await readyInstances(client, 'pair', 1);
      expect(guest?.runtime).toBe('hyper');
      const instance = guest?.instance ?? '';
      const beside = ['-c', 'beside', '--'];
      const fetched = await kernel.run('exec', instance, ...beside, 'wget', '-q', '-O', '-', 'http://127.0.0.1/');
      expect(fetched).toMatchObject({ code: 0, stdout: '0' });
      expect((await kernel.run('logs', instance, '-c', 'beside')).stdout).toBe('up\n');
      expect((await kernel.run('exec', instance, '-c', 'nobody', '--', 'true')).stderr).toContain('counter, beside');
      // One whose liveness probe fails is run again by itself, and the pod is ready again after that.
      await kernel.run('exec', instance, ...beside, 'touch', '/tmp/broken');
      const again = async () => (await readyInstances(client, 'pair', 1))[0]?.containers;
      await until(async () => (await again())?.[0]?.restarts === 1, 120_000);
      const message = 'container beside: liveness probe: exit code 1';
      expect(await again()).toMatchObject([{ name: 'beside', running: true, exit: { message } }]);
      expect((await readyInstances(client, 'pair', 1))[0]).toMatchObject({ instance, attempt: 1, pid: guest?.pid });
      await client.command({ slot: 'orchestrator', command: { type: 'Remove', name: 'pair' } });
      await readyInstances(client, 'pair', 0);
    }, 120_000);

    it('every guest survives a restart of the control plane, its process and its state untouched', async () => {
      await kernel.end('SIGKILL');
      for (const guest of guests.values()) expect(await ask(guest, 'GET', '/')).toBe('1');
      client = await kernel.start();
      for (const [runtime, guest] of guests) {
        const [now] = await readyInstances(client, runtime, 1);
        expect(now).toMatchObject({ instance: guest.instance, pid: guest.pid, attempt: 1, address: guest.address });
        expect(await ask(guest, 'GET', '/kv/colour')).toBe(runtime);
        expect(await ask(guest, 'POST', '/inc')).toBe('2');
      }
    }, 120_000);

    it('every guest is removed, and nothing is left of any', async () => {
      const store = ImageStore.of(kernel.stateDir);
      expect((await store.holds()).size).toBeGreaterThan(0);
      for (const { runtime } of there()) {
        await client.command({ slot: 'orchestrator', command: { type: 'Remove', name: runtime } });
      }
      for (const { runtime } of there()) await readyInstances(client, runtime, 0);
      await until(async () => (await store.holds()).size === 0);
      const asked = [...guests.values()].map((guest) =>
        fetch(urlOf(guest, '/'), { signal: AbortSignal.timeout(5_000) }),
      );
      const answers = await Promise.allSettled(asked);
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 'rejected'));
      const instances = [...guests.values()].map(({ instance }) => instance);
      const outcome = await kernel.run('down');
      expect(outcome.code, outcome.stderr).toBe(0);
      await kernel.end('SIGTERM');
      const left = () => sinceThen(before, takeStock(kernel.stateDir, ...instances));
      await until(
        () => left().length === 0,
        60_000,
        () => JSON.stringify(left()),
      );
    }, 180_000);
  },
);

/** What is there now and was not then. */
function sinceThen(before: Remains, after: Remains): string[] {
  const kinds = ['processes', 'mounts', 'controlGroups', 'interfaces', 'namespaces'] as const;
  return kinds.flatMap((kind) => after[kind].filter((item) => !before[kind].includes(item)));
}

interface Doctor {
  readonly nodes: readonly {
    readonly checks: readonly { name: string; status: string; found: string; remedy?: string }[];
  }[];
}
