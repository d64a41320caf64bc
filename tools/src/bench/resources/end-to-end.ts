import path from 'node:path';
import { PolicyRunner } from '@cloudos/kernel';
import { newId, systemClock } from '@cloudos/sdk';
import { openBareLog } from '../bare-log.ts';
import type { BenchOptions } from '../bench.ts';
import { resourcesPolicy } from './driven-policy.ts';
import { burst, type ResourcesBench, take } from './driving.ts';
import { nodesOf, requestsOf } from './mix.ts';

/** Requests appended to the durable log, decided by the policy runner of the kernel, until the last placement is durable. */
export async function endToEnd(about: ResourcesBench, options: BenchOptions): Promise<void> {
  const nodes = options.quick ? 500 : 10_000;
  const count = options.quick ? 5_000 : 100_000;
  const { log, close } = await openBareLog(path.join(options.workDir, `end-to-end-${about.manager}`));
  options.progress(`${about.manager}: ${count} instances through the durable log`);
  const policy = await resourcesPolicy(about.plugin, about.config ?? {});
  if (about.prepare && about.prepare.length > 0) await log.append('resources', about.prepare, 'any');
  await log.append('nodes', nodesOf(nodes), 'any');
  let fail: (error: unknown) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  const runner = new PolicyRunner({
    policy,
    stream: 'resources',
    log,
    producer: { plugin: about.plugin, generation: 1 },
    clock: systemClock,
    newId,
    snapshotKey: 'bench',
    onFailure: (error) => fail(error),
  });
  await runner.catchUp();
  await runner.start();
  const asked = take(requestsOf(51, true), count, about);
  const startedAt = performance.now();
  const done = placedOnes(log, count);
  for (let from = 0; from < count; from += burst) {
    await log.append('orchestrator', asked.slice(from, from + burst), 'any');
  }
  await Promise.race([done, failed]);
  const value = count / ((performance.now() - startedAt) / 1_000);
  await runner.stop();
  await close();
  options.report({
    name: `resources.${about.manager}.end-to-end`,
    value,
    unit: 'placements/s',
    bound: null,
    ratio: null,
    target: `>= 20,000/s from the durable request to the durable placement (${count} on ${nodes} nodes)`,
    met: options.quick ? null : value >= 20_000,
  });
}

function placedOnes(log: Awaited<ReturnType<typeof openBareLog>>['log'], count: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let seen = 0;
    const subscription = log.subscribe(0, { types: ['InstancePlaced'] }).subscribe({
      next(batch) {
        seen += batch.length;
        if (seen < count) return;
        subscription.unsubscribe();
        resolve();
      },
      error: reject,
    });
  });
}
