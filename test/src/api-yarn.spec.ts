import apiYarn from '@cloudos/api-yarn';
import type { Kernel } from '@cloudos/kernel';
import kubernetes from '@cloudos/orchestrator-kubernetes';
import borg from '@cloudos/resources-borg';
import yarn from '@cloudos/resources-yarn';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { bootSimulated, sharedMemoryLog } from './support/simulated-stack.ts';

const queues = [
  { path: 'root.eng', capacity: '60%', maximumCapacity: '80%' },
  { path: 'root.eng.web', capacity: '100%', maximumApplications: 7 },
  { path: 'root.sales', capacity: '40%', userLimitFactor: 2 },
];

let kernel: Kernel;
let url: string;
const fetchJson = async (path: string) => {
  const response = await fetch(`${url}/ws/v1/cluster${path}`, { signal: AbortSignal.timeout(10_000) });
  expect(response.headers.get('content-type')).toBe('application/json');
  return { status: response.status, body: (await response.json()) as Record<string, never> };
};
const get = async (path: string) => (await fetchJson(path)).body as never as Record<string, Record<string, unknown>>;
const apply = (text: string) => kernel.command({ slot: 'orchestrator', command: { type: 'Apply', text } });
const deployment = (name: string, owner: string, replicas: number, cpu = '500m', memory = '512Mi') =>
  JSON.stringify({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, annotations: { 'cloudos.io/owner': owner, 'cloudos.io/user': 'ann' } },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: {
          containers: [{ name: 'main', image: 'host:', command: ['sleep'], resources: { requests: { cpu, memory } } }],
        },
      },
    },
  });
const placed = (count: number) =>
  vi.waitFor(async () => {
    const { instances } = await kernel.view();
    expect(instances.filter(({ node }) => node !== undefined)).toHaveLength(count);
  }, 60_000);

beforeAll(async () => {
  kernel = await bootSimulated({
    logPlugin: sharedMemoryLog().plugin,
    given: [apiYarn, yarn, borg, kubernetes],
    world: 'api-yarn',
    nodes: 4,
    resources: { plugin: 'resources-yarn', config: { queues } },
    orchestrator: 'orchestrator-kubernetes',
    apis: [{ plugin: 'api-yarn', config: { port: 0 } }],
  });
  url = kernel.plugins().find(({ slot }) => slot === 'api')?.url ?? '';
  await apply(deployment('web', 'eng/web', 3));
  await apply(deployment('huge', 'sales', 1, '9000'));
  await placed(3);
});
afterAll(() => kernel.stop());

describe('the ResourceManager REST API over a running stack', () => {
  it('tells what the cluster is, under both of its names', async () => {
    const { clusterInfo } = await get('/info');
    expect(clusterInfo).toMatchObject({ state: 'STARTED', haState: 'ACTIVE', startedOn: kernel.status().startedAt });
    expect((await get('')).clusterInfo).toEqual(clusterInfo);
  });

  it('counts applications, containers, memory, cores and nodes', async () => {
    const { clusterMetrics } = await get('/metrics');
    expect(clusterMetrics).toMatchObject({
      appsSubmitted: 2,
      appsRunning: 1,
      appsPending: 1,
      containersAllocated: 3,
      containersPending: 1,
      allocatedMB: 3 * 512,
      allocatedVirtualCores: 2, // one core and a half, rounded up
      totalNodes: 4,
      activeNodes: 4,
    });
    const { totalMB, availableMB, allocatedMB } = clusterMetrics as Record<string, number>;
    expect(availableMB).toBe(totalMB! - allocatedMB!);
  });

  it('shows the queues as a tree of the capacity scheduler', async () => {
    const { scheduler } = await get('/scheduler');
    const info = scheduler?.schedulerInfo as { queues: { queue: Record<string, never>[] } };
    expect(info).toMatchObject({ type: 'capacityScheduler', queueName: 'root', capacity: 100 });
    const [eng, sales] = info.queues.queue;
    expect(eng).toMatchObject({
      queueName: 'eng',
      capacity: 60,
      maxCapacity: 80,
      absoluteCapacity: 60,
      numApplications: 1,
      queueType: 'parent',
      queues: {
        queue: [
          {
            type: 'capacitySchedulerLeafQueueInfo',
            queuePath: 'root.eng.web',
            absoluteMaxCapacity: 80,
            numActiveApplications: 1,
            numPendingApplications: 0,
            numContainers: 3,
            maxApplications: 7,
            resourcesUsed: { memory: 3 * 512, vCores: 2 },
            users: { user: [{ username: 'ann', numActiveApplications: 1 }] },
          },
        ],
      },
    });
    expect(sales).toMatchObject({
      state: 'RUNNING',
      userLimitFactor: 2,
      numPendingApplications: 1,
      pendingContainers: 1,
    });
  });

  it('lists nodes, by state where it is asked, and one by its name', async () => {
    const { nodes } = await get('/nodes');
    const list = nodes?.node as { id: string; numContainers: number; nodeHostName: string }[];
    expect(list).toHaveLength(4);
    expect(list.reduce((sum, { numContainers }) => sum + numContainers, 0)).toBe(3);
    expect((await get(`/nodes/${list[0]!.id}`)).node).toMatchObject({
      nodeHostName: list[0]!.nodeHostName,
      state: 'RUNNING',
    });
    expect(await get('/nodes?states=LOST')).toEqual({ nodes: null });
    await kernel.command({ slot: 'resources', command: { type: 'CordonNode', node: 'n-4', reason: '' } });
    expect((await get('/nodes?states=DECOMMISSIONED')).nodes?.node).toMatchObject([{ nodeHostName: 'n-4' }]);
    await kernel.command({ slot: 'resources', command: { type: 'UncordonNode', node: 'n-4' } });
  });

  it('lists applications with what they hold, by the documented filters', async () => {
    const { apps } = await get('/apps');
    const list = apps?.app as { id: string; name: string }[];
    expect(list).toMatchObject([
      {
        name: 'default/web',
        user: 'ann',
        queue: 'root.eng.web',
        state: 'RUNNING',
        runningContainers: 3,
        allocatedMB: 1_536,
      },
      { name: 'default/huge', queue: 'root.sales', state: 'ACCEPTED', runningContainers: -1 },
    ]);
    expect(list[0]!.id).toMatch(/^application_\d{13}_0001$/);
    expect((await get(`/apps/${list[0]!.id}`)).app).toMatchObject({ name: 'default/web', finalStatus: 'UNDEFINED' });
    const names = async (query: string) => {
      const { apps: found } = await get(`/apps?${query}`);
      return ((found as { app: { name: string }[] } | null)?.app ?? []).map(({ name }) => name);
    };
    expect(await names('states=running')).toEqual(['default/web']);
    expect(await names('queue=sales')).toEqual(['default/huge']);
    expect(await names('user=bob')).toEqual([]);
    expect(await names('limit=1')).toEqual(['default/web']);
  });

  it('remembers what has ended', async () => {
    await apply(deployment('brief', 'sales', 1));
    await placed(4);
    await kernel.command({ slot: 'orchestrator', command: { type: 'Remove', name: 'default/brief' } });
    await placed(3);
    expect((await get('/apps?states=FINISHED')).apps?.app).toMatchObject([
      { name: 'default/brief', finalStatus: 'SUCCEEDED', progress: 100 },
    ]);
    expect((await get('/metrics')).clusterMetrics).toMatchObject({ appsCompleted: 1 });
  });

  it('answers what is not there as a ResourceManager does', async () => {
    for (const path of ['/apps/application_1_0001', '/nodes/nowhere', '/scheduler/more', '/elsewhere']) {
      const { status, body } = await fetchJson(path);
      expect([path, status]).toEqual([path, 404]);
      expect(body).toMatchObject({ RemoteException: { exception: 'NotFoundException' } });
    }
    const posted = await fetch(`${url}/ws/v1/cluster/apps`, { method: 'POST', body: '{}' });
    expect(posted.status).toBe(405);
  });

  it('follows a swap: queues are those of the manager in charge', async () => {
    await kernel.swap({ slot: 'resources', plugin: 'resources-borg' });
    await expect
      .poll(async () => (await get('/scheduler')).scheduler?.schedulerInfo)
      .toMatchObject({ queues: { queue: [{ queueName: 'default', numContainers: 3 }] } });
  });
});
