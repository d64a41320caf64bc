import apiMesos from '@cloudos/api-mesos';
import { simulatedHosts } from '@cloudos/host-simulated';
import type { Kernel } from '@cloudos/kernel';
import orchestratorKubernetes from '@cloudos/orchestrator-kubernetes';
import resourcesMesos from '@cloudos/resources-mesos';
import { afterEach, describe, expect, it } from 'vitest';
import { launch, MesosClient, type Offer, taskInfo } from './support/mesos-client.ts';
import { bootSimulated, sharedMemoryLog } from './support/simulated-stack.ts';

let kernel: Kernel | undefined;
let client: MesosClient | undefined;
afterEach(async () => {
  client?.disconnect();
  await kernel?.stop();
});
const until = (what: () => unknown) => expect.poll(what);

/** A framework with a task that runs on one of two agents. */
async function withTask(world: string, capabilities: readonly string[]) {
  kernel = await bootSimulated({
    logPlugin: sharedMemoryLog().plugin,
    world,
    given: [apiMesos, orchestratorKubernetes, resourcesMesos],
    nodes: 2,
    resources: { plugin: 'resources-mesos', config: { allocationIntervalMs: 50 } },
    orchestrator: 'orchestrator-kubernetes',
    apis: [{ plugin: 'api-mesos', config: { port: 0 } }],
    limits: { nodes: { hostGraceMs: 100 } },
  });
  client = new MesosClient(kernel.plugins().find(({ slot }) => slot === 'api')?.url ?? '');
  expect(await client.subscribe({ capabilities: capabilities.map((type) => ({ type })) })).toBe(200);
  await until(() => client!.offers.length).toBeGreaterThan(0);
  const offer = client.offers.at(-1) as Offer;
  expect(await client.accept([offer], [launch(taskInfo('t1', offer, 'sleep 1000'))])).toBe(202);
  await until(() => client!.states('t1').at(-1)).toBe('TASK_RUNNING');
  return { framework: client, stack: kernel, node: offer.agent_id.value };
}

describe('tasks of an agent that is lost', () => {
  it('are unreachable to a framework that is aware of partitions', async () => {
    const { framework, node } = await withTask('mesos unreachable', ['PARTITION_AWARE']);
    simulatedHosts('mesos unreachable').lose(node);
    await until(() => framework.states('t1')).toContain('TASK_UNREACHABLE');
    const told = framework.statuses('t1').find(({ state }) => state === 'TASK_UNREACHABLE');
    expect(told).toMatchObject({ reason: 'REASON_SLAVE_REMOVED', source: 'SOURCE_MASTER' });
    // the host is lost and its agent is not: it ends what was on it, and says so
    await until(() => framework.states('t1').at(-1)).toBe('TASK_KILLED');
  });

  it('are lost to one that is not', async () => {
    const { framework, node } = await withTask('mesos lost', []);
    simulatedHosts('mesos lost').lose(node);
    await until(() => framework.states('t1').at(-1)).toBe('TASK_LOST');
    expect(framework.states('t1')).not.toContain('TASK_UNREACHABLE');
  });
});

describe('an agent that will be taken down', () => {
  it('is asked for by an inverse offer, which the framework answers, and which is rescinded when the agent stays', async () => {
    const { framework, stack, node } = await withTask('mesos inverse', []);
    const from = Date.now() + 3_600_000;
    const planned = { type: 'ScheduleMaintenance' as const, node, from, durationMs: 60_000, reason: 'disk' };
    await stack.command({ slot: 'resources', command: planned });
    await until(() => framework.of('INVERSE_OFFERS').length).toBe(1);
    const { inverse_offers } = framework.of('INVERSE_OFFERS')[0]!.inverse_offers as {
      inverse_offers: {
        id?: { value: string };
        offer_id?: { value: string };
        agent_id: unknown;
        unavailability: unknown;
      }[];
    };
    const [inverse] = inverse_offers;
    expect(inverse).toMatchObject({
      agent_id: { value: node },
      unavailability: { start: { nanoseconds: from * 1e6 }, duration: { nanoseconds: 60_000 * 1e6 } },
    });
    const id = inverse!.id ?? inverse!.offer_id!;
    const answer = { accept_inverse_offers: { inverse_offer_ids: [id], filters: {} } };
    expect(await framework.call('ACCEPT_INVERSE_OFFERS', answer)).toBe(202);
    await stack.command({ slot: 'resources', command: { type: 'CancelMaintenance', node } });
    await until(() => framework.of('RESCIND_INVERSE_OFFER')).toMatchObject([
      { rescind_inverse_offer: { inverse_offer_id: id } },
    ]);
    expect(framework.states('t1').at(-1)).toBe('TASK_RUNNING');
  });
});
