import { CloudosError, type KernelAccess, Scope, silentLogger, systemClock } from '@cloudos/sdk';
import { afterEach, expect, it } from 'vitest';
import plugin from './plugin.ts';

const scope = new Scope('api-yarn on a trimmed log');
afterEach(() => scope.close());

const capacity = { cpuMillis: 4_000, memoryBytes: 2 ** 33, diskBytes: 0, pids: 0 };
const requests = { cpuMillis: 1_000, memoryBytes: 2 ** 30, diskBytes: 0, pids: 0 };
const node = (name: string, state: 'ready' | 'cordoned') => ({
  ...{ node: name, state, capacity, used: requests, instances: 1, attributes: {} },
  runtimes: [{ name: 'zones', version: '1', features: {} }],
});
const instance = (name: string, on?: string) => ({
  ...{ instance: name, workload: 'default/web', revision: 1, requests, priority: 100, attempt: 1 },
  ...{ requestedAt: 0, changedAt: 0, requestedTime: 0, changedTime: 0, state: 'ready' as const },
  ...(on !== undefined && { node: on }),
});

it('begins with what is where the beginning of the log is gone, and follows from there', async () => {
  const followed: number[] = [];
  const inCharge = { plugin: 'resources-yarn', config: {} };
  const kernel = {
    log: {
      // biome-ignore lint/correctness/useYield: the log has nothing to give
      async *read() {
        throw new CloudosError('LOG_TRIMMED', 'the log begins at position 900');
      },
      subscribe(from: number) {
        followed.push(from);
        return { subscribe: () => ({ unsubscribe: () => {} }) };
      },
      head: () => 1_000,
    },
    policy: () => inCharge,
    view: async () => ({
      position: 1_000,
      time: 5,
      nodes: [node('n1', 'ready'), node('n2', 'cordoned')],
      workloads: [],
      instances: [instance('a', 'n1'), instance('b')],
      services: [],
    }),
  } as unknown as KernelAccess;
  const context = {
    scope,
    logger: silentLogger,
    clock: systemClock,
    newId: () => '',
    generation: 1,
    dataDir: '',
    stateDir: '',
  };
  const fail = (error: unknown) => {
    throw error;
  };
  const driver = await plugin.create({ ...context, kernel, fail }, plugin.config.parse({ port: 0 }));
  const { url } = await driver.open();
  const response = await fetch(`${url}/ws/v1/cluster/metrics`, { signal: AbortSignal.timeout(10_000) });
  expect(await response.json()).toMatchObject({
    clusterMetrics: { containersAllocated: 1, containersPending: 1, totalNodes: 2, activeNodes: 1, appsRunning: 1 },
  });
  expect(followed).toEqual([1_001]);
  await driver.close();
});
