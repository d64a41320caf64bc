import { pluginContext } from '@cloudos/conformance';
import { MemoryEventLog, withSchemas } from '@cloudos/event-log';
import { PolicyRunner } from '@cloudos/kernel';
import { type CloudosError, event, hasCode, newId, type Policy, systemClock } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { everything } from './support/simulated-stack.ts';
import { toyResources } from './support/toy-policies.ts';

const requests = { cpuMillis: 1, memoryBytes: 1, diskBytes: 0, pids: 0 };
const request = (instance: string) =>
  event('InstanceRequested', { instance, workload: 'default/toy', revision: 1, requests, priority: 100 });
const joined = event('NodeJoined', { node: 'n1', capacity: requests, attributes: {}, runtimes: [] });

async function runner(log: ReturnType<typeof withSchemas>, generation: number) {
  const context = await pluginContext();
  const policy = (await toyResources.create(context, toyResources.config.parse({}))) as Policy;
  await context.scope.close();
  const failures: unknown[] = [];
  const run = new PolicyRunner({
    policy,
    stream: 'resources',
    log,
    producer: { plugin: 'resources-toy', generation },
    clock: systemClock,
    newId,
    snapshotKey: 'policy/resources-toy',
    onFailure: (error) => void failures.push(error),
  });
  await run.catchUp();
  return { run, failures };
}

describe('a policy runner', () => {
  it('refuses the late append of a predecessor on the fence', async () => {
    const log = withSchemas(new MemoryEventLog({ clock: systemClock, newId }));
    await log.append('node-n1', [joined], 'any');
    const old = await runner(log, 1);
    await old.run.start();
    const successor = await runner(log, 2);
    await successor.run.catchUp();
    await successor.run.start(); // claims the stream; the predecessor has not been told
    await log.append('orchestrator', [request('a')], 'any');
    await expect.poll(() => old.failures.map((error) => (error as CloudosError).code)).toEqual(['REVISION_CONFLICT']);
    await expect
      .poll(async () =>
        (await everything(log))
          .filter(({ type }) => type === 'InstancePlaced')
          .map(({ meta }) => meta.producer.generation),
      )
      .toEqual([2]);
    expect(successor.failures).toEqual([]);
    await successor.run.stop();
  });

  it('decides nothing twice though it is stopped and started while events pour in', async () => {
    const log = withSchemas(new MemoryEventLog({ clock: systemClock, newId }));
    await log.append('node-n1', [joined], 'any');
    const total = 2_000;
    const pouring = (async () => {
      for (let at = 0; at < total; at += 10) {
        await log.append(
          'orchestrator',
          Array.from({ length: 10 }, (_, i) => request(`i-${at + i}`)),
          'any',
        );
        if (at % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (let generation = 1; generation <= 20; generation++) {
      const { run } = await runner(log, generation);
      await run.start();
      await new Promise((resolve) => setImmediate(resolve));
      await run.stop();
    }
    await pouring;
    const { run } = await runner(log, 21);
    await run.start();
    const placed = async () =>
      (await everything(log))
        .filter(({ type }) => type === 'InstancePlaced')
        .map(({ data }) => (data as { instance: string }).instance);
    await expect.poll(async () => (await placed()).length).toBe(total);
    expect(new Set(await placed()).size).toBe(total);
    await run.stop();
  });

  it('bounds the commands that wait', async () => {
    const log = withSchemas(new MemoryEventLog({ clock: systemClock, newId }));
    const { run } = await runner(log, 1);
    await run.start();
    const sent = await Promise.allSettled(
      Array.from({ length: 1_100 }, () => run.command({ type: 'DrainNode' }, { id: newId() })),
    );
    const overflow = sent.filter((each) => each.status === 'rejected' && /commands wait/.test(String(each.reason)));
    expect(overflow).toHaveLength(1_100 - 1_024);
    expect(sent.every((each) => each.status === 'rejected' && hasCode(each.reason, 'COMMAND_REFUSED'))).toBe(true);
    await run.stop();
  });
});
