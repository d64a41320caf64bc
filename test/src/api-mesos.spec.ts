import apiMesos from '@cloudos/api-mesos';
import type { Kernel } from '@cloudos/kernel';
import orchestratorKubernetes from '@cloudos/orchestrator-kubernetes';
import resourcesBorg from '@cloudos/resources-borg';
import resourcesMesos from '@cloudos/resources-mesos';
import { afterEach, describe, expect, it } from 'vitest';
import { launch, MesosClient, taskInfo } from './support/mesos-client.ts';
import { bootSimulated, sharedMemoryLog } from './support/simulated-stack.ts';

const running: Kernel[] = [];
const clients: MesosClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect();
  for (const kernel of running.splice(0)) await kernel.stop();
});

async function boot(
  world: string,
  {
    logPlugin = sharedMemoryLog().plugin,
    config = {},
  }: { logPlugin?: ReturnType<typeof sharedMemoryLog>['plugin']; config?: object } = {},
): Promise<Kernel> {
  const kernel = await bootSimulated({
    logPlugin,
    world,
    given: [apiMesos, orchestratorKubernetes, resourcesBorg, resourcesMesos],
    nodes: 2,
    resources: { plugin: 'resources-mesos', config: { allocationIntervalMs: 50 } },
    orchestrator: 'orchestrator-kubernetes',
    apis: [{ plugin: 'api-mesos', config: { port: 0, ...config } }],
  });
  running.push(kernel);
  return kernel;
}
const urlOf = (kernel: Kernel) => kernel.plugins().find(({ slot }) => slot === 'api')?.url ?? '';
async function framework(kernel: Kernel, info: object = {}): Promise<MesosClient> {
  const client = new MesosClient(urlOf(kernel));
  clients.push(client);
  expect(await client.subscribe(info)).toBe(200);
  await expect.poll(() => client.frameworkId).toBeDefined();
  return client;
}
const offerOf = async (client: MesosClient, since = 0) => {
  await expect.poll(() => client.offers.length).toBeGreaterThan(since);
  return client.offers.at(-1)!;
};
const until = (what: () => unknown) => expect.poll(what);
const workloads = async (kernel: Kernel) => (await kernel.view()).workloads.map(({ spec }) => spec.workload);

describe('the Mesos scheduler API', () => {
  it('subscribes, offers, launches, tells every state, kills, and leaves nothing', async () => {
    const kernel = await boot('mesos api');
    const client = await framework(kernel, { capabilities: [{ type: 'TASK_KILLING_STATE' }] });
    const offer = await offerOf(client);
    expect(offer).toMatchObject({ url: { address: { ip: expect.any(String) } }, allocation_info: { role: '*' } });
    expect(await client.accept([offer], [launch(taskInfo('t1', offer, 'sleep 1000'))])).toBe(202);
    await until(() => client.states('t1')).toEqual(['TASK_STARTING', 'TASK_RUNNING']);
    const { instances } = await kernel.view();
    expect(instances).toMatchObject([
      { workload: `${client.frameworkId}/t1`, node: offer.agent_id.value, state: 'ready' },
    ]);
    expect(await client.call('KILL', { kill: { task_id: { value: 't1' } } })).toBe(202);
    await until(() => client.states('t1')).toEqual(['TASK_STARTING', 'TASK_RUNNING', 'TASK_KILLING', 'TASK_KILLED']);
    await until(() => workloads(kernel)).toEqual([]);
    expect((await kernel.view()).instances).toEqual([]);
    expect(await client.call('TEARDOWN')).toBe(202);
    await until(() => client.ended).toBe(true);
  });

  it('sends an update again until it is acknowledged, and one at a time', async () => {
    const kernel = await boot('mesos updates', { config: { updateRetryMs: 200 } });
    const client = await framework(kernel);
    client.acknowledges = false;
    const offer = await offerOf(client);
    await client.accept([offer], [launch(taskInfo('t1', offer, 'sleep 1000'))]);
    await until(() => client.states('t1').length).toBeGreaterThan(2);
    expect(new Set(client.states('t1'))).toEqual(new Set(['TASK_STARTING']));
    const { uuid, agent_id, task_id } = client.statuses('t1')[0]!;
    await client.call('ACKNOWLEDGE', { acknowledge: { uuid, agent_id, task_id } });
    await until(() => client.states('t1').at(-1)).toBe('TASK_RUNNING');
  });

  it('rejects tasks that are not sound, and says why', async () => {
    const kernel = await boot('mesos faults');
    const client = await framework(kernel);
    const offer = await offerOf(client);
    const good = taskInfo('t1', offer, 'sleep 1000');
    const tasks = [
      good,
      good,
      taskInfo('large', offer, 'true', 10_000),
      { ...good, task_id: { value: 'custom' }, executor: { executor_id: { value: 'e' } } },
      { ...good, task_id: { value: 'empty' }, command: {} },
    ];
    await client.accept([offer], [launch(...tasks)]);
    await until(() => client.states('large')).toEqual(['TASK_ERROR']);
    expect(client.statuses('custom')[0]).toMatchObject({
      state: 'TASK_ERROR',
      message: expect.stringContaining('executors'),
    });
    expect(client.statuses('empty')[0]).toMatchObject({ reason: 'REASON_TASK_INVALID' });
    await until(() => client.states('t1')).toEqual(['TASK_ERROR', 'TASK_STARTING', 'TASK_RUNNING']);
    await client.accept([offer], [launch(taskInfo('late', offer, 'true'))]);
    await until(() => client.statuses('late')).toMatchObject([{ state: 'TASK_LOST', reason: 'REASON_INVALID_OFFERS' }]);
  });

  it('reconciles known tasks and unknown ones', async () => {
    const kernel = await boot('mesos reconcile');
    const client = await framework(kernel, { capabilities: [{ type: 'PARTITION_AWARE' }] });
    const offer = await offerOf(client);
    await client.accept([offer], [launch(taskInfo('t1', offer, 'sleep 1000'))]);
    await until(() => client.states('t1').at(-1)).toBe('TASK_RUNNING');
    client.events.length = 0;
    await client.call('RECONCILE', { reconcile: { tasks: [] } });
    await until(() => client.statuses('t1')).toMatchObject([
      { state: 'TASK_RUNNING', reason: 'REASON_RECONCILIATION' },
    ]);
    await client.call('RECONCILE', { reconcile: { tasks: [{ task_id: { value: 'who' } }] } });
    await until(() => client.states('who')).toEqual(['TASK_UNKNOWN']);
  });

  it('keeps tasks over a restart of the kernel: the framework subscribes again and is told', async () => {
    const { plugin } = sharedMemoryLog();
    const first = await boot('mesos restart', { logPlugin: plugin });
    const client = await framework(first);
    const offer = await offerOf(client);
    await client.accept([offer], [launch(taskInfo('t1', offer, 'sleep 1000'))]);
    await until(() => client.states('t1').at(-1)).toBe('TASK_RUNNING');
    await first.stop();
    await until(() => client.ended).toBe(true);
    const second = await boot('mesos restart', { logPlugin: plugin });
    const again = new MesosClient(urlOf(second));
    clients.push(again);
    again.frameworkId = client.frameworkId;
    expect(await again.subscribe()).toBe(200);
    await until(() => again.states('t1')).toEqual(['TASK_RUNNING']);
    await again.call('KILL', { kill: { task_id: { value: 't1' } } });
    await until(() => again.states('t1').at(-1)).toBe('TASK_KILLED');
    await until(() => workloads(second)).toEqual([]);
  });

  it('removes a framework that stays away, and its tasks', async () => {
    const kernel = await boot('mesos away');
    const client = await framework(kernel, { failover_timeout: 0.2 });
    const offer = await offerOf(client);
    await client.accept([offer], [launch(taskInfo('t1', offer, 'sleep 1000'))]);
    await until(() => client.states('t1').at(-1)).toBe('TASK_RUNNING');
    client.disconnect();
    await until(() => workloads(kernel)).toEqual([]);
    expect(await client.subscribe()).toBe(403);
  });

  it('tells of an agent that is drained', async () => {
    const kernel = await boot('mesos drain');
    const client = await framework(kernel);
    const offer = await offerOf(client);
    await client.accept([offer], [launch(taskInfo('t1', offer, 'sleep 1000'))]);
    await until(() => client.states('t1').at(-1)).toBe('TASK_RUNNING');
    const node = offer.agent_id.value;
    await kernel.command({ slot: 'resources', command: { type: 'DrainNode', node, reason: 'repair' } });
    await until(() => client.statuses('t1').at(-1)).toMatchObject({
      state: 'TASK_KILLED',
      reason: 'REASON_SLAVE_DRAINING',
    });
  });

  it('needs Mesos to be in charge of resources; what runs goes on under another', async () => {
    const kernel = await boot('mesos swap');
    const client = await framework(kernel);
    const offer = await offerOf(client);
    await client.accept([offer], [launch(taskInfo('t1', offer, 'sleep 1000'))]);
    await until(() => client.states('t1').at(-1)).toBe('TASK_RUNNING');
    await kernel.swap({ slot: 'resources', plugin: 'resources-borg' });
    expect((await kernel.view()).instances).toMatchObject([{ state: 'ready' }]);
    expect(await new MesosClient(urlOf(kernel)).subscribe()).toBe(503);
    await client.call('KILL', { kill: { task_id: { value: 't1' } } });
    await until(() => client.states('t1').at(-1)).toBe('TASK_KILLED');
    await kernel.swap({ slot: 'resources', plugin: 'resources-mesos' });
    await until(() => workloads(kernel)).toEqual([]);
  });

  it('refuses what is not a call', async () => {
    const kernel = await boot('mesos calls');
    const client = await framework(kernel);
    expect(await client.call('DECLINE', { decline: { offer_ids: [{ value: 'x' }] } })).toBe(202);
    expect(await client.call('DECLINE', { decline: {} })).toBe(400);
    expect(await client.call('DECLINE', {}, { 'content-type': 'application/x-protobuf' })).toBe(415);
    expect(await client.call('REVIVE', {}, { 'mesos-stream-id': 'other' })).toBe(400);
    expect(await client.call('SHUTDOWN')).toBe(501);
    client.frameworkId = 'fw-unknown';
    expect(await client.call('REVIVE')).toBe(403);
    const state = (await (await fetch(`${urlOf(kernel)}/state`)).json()) as object;
    expect(state).toMatchObject({ activated_slaves: 2, frameworks: [{ name: 'client', connected: true, tasks: [] }] });
  });
});
