import path from 'node:path';
import { bootKernel, type Kernel, parseStack } from '@cloudos/kernel';
import type { LogProvider, RecordedEvent } from '@cloudos/sdk';
import { openBareLog } from './bare-log.ts';
import type { Bench, BenchOptions } from './bench.ts';

/** Deployments that the instances are spread over, with requests of different sizes. */
const deployments = 10;

/**
 * Instances declared, placed and started on simulated nodes through the durable log, by the same plugins that run real
 * guests; beside it the very same events appended bare to a fresh log.
 */
const bench: Bench = {
  prefix: 'cluster',
  async run(options) {
    const nodes = options.quick ? 500 : 10_000;
    const instances = options.quick ? 5_000 : 100_000;
    const { seconds, first, events } = await place(options, nodes, instances);
    const rate = (events.length - first) / seconds;
    options.progress(`${events.length - first} events, appended bare`);
    const bare = await appendBare(events.slice(first), path.join(options.workDir, 'bare'));
    const aim = 20_000;
    options.report({
      name: 'cluster.place',
      value: instances / seconds,
      unit: 'instances/s',
      bound: null,
      ratio: null,
      target: `aim for ${aim}/s (${instances} instances, ${nodes} nodes)`,
      met: options.quick ? null : instances / seconds >= aim,
    });
    options.report({
      name: 'cluster.place.events',
      value: rate,
      unit: 'events/s',
      bound: bare,
      ratio: rate / bare,
      target: 'reported',
      met: null,
    });
  },
};
export default bench;

async function place({ workDir, progress }: BenchOptions, nodes: number, instances: number) {
  const stateDir = path.join(workDir, 'place');
  progress(`booting ${nodes} nodes`);
  const kernel = await bootKernel({ stack: simulatedStack(nodes), stateDir });
  const first = kernel.log.head() + 1;
  progress(`placing ${instances} instances`);
  const startedAt = performance.now();
  await kernel.command({ slot: 'orchestrator', command: { type: 'Apply', text: manifests(instances) } });
  await started(kernel, first, instances);
  const seconds = (performance.now() - startedAt) / 1_000;
  const events: RecordedEvent[] = [];
  for await (const batch of kernel.log.read({ from: 0 })) events.push(...batch);
  await kernel.stop();
  return { seconds, first, events };
}

/** Resolves when that many guests have been recorded as started. */
function started(kernel: Kernel, from: number, instances: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let seen = 0;
    const subscription = kernel.log.subscribe(from, { types: ['GuestStarted', 'GuestFailed'] }).subscribe((batch) => {
      const failed = batch.find(({ type }) => type === 'GuestFailed');
      if (failed) reject(new Error(`a guest failed: ${JSON.stringify(failed.data)}`));
      seen += batch.length;
      if (seen < instances) return;
      subscription.unsubscribe();
      resolve();
    });
  });
}

/** Appends the same events to a fresh log, each run of one stream as one append, as many in flight as come. */
async function appendBare(events: readonly RecordedEvent[], dir: string): Promise<number> {
  const { log, close } = await openBareLog(dir);
  const startedAt = performance.now();
  const inFlight = new Set<Promise<unknown>>();
  for (let from = 0; from < events.length; ) {
    let to = from + 1;
    while (to < events.length && events[to]?.stream === events[from]?.stream && to - from < runMax) to++;
    await append(log, events.slice(from, to), inFlight);
    from = to;
  }
  await Promise.all(inFlight);
  const seconds = (performance.now() - startedAt) / 1_000;
  await close();
  return events.length / seconds;
}

/** Events in one append, and appends in flight, of the bare log. */
const runMax = 1_024;
const inFlightMax = 1_024;

async function append(log: LogProvider, run: readonly RecordedEvent[], inFlight: Set<Promise<unknown>>): Promise<void> {
  const appending: Promise<unknown> = log
    .append(run[0]?.stream ?? '', run, 'any')
    .finally(() => inFlight.delete(appending));
  inFlight.add(appending);
  if (inFlight.size >= inFlightMax) await Promise.race(inFlight);
}

function simulatedStack(count: number) {
  const stack = {
    apiVersion: 'cloudos/v1',
    kind: 'Stack',
    name: 'bench',
    log: 'log-lmdb',
    resources: 'resources-borg',
    orchestrator: 'orchestrator-kubernetes',
    nodes: [{ name: 'n', count, host: 'host-simulated', guests: ['guest-simulated'] }],
  };
  return parseStack(JSON.stringify(stack), 'bench.yaml');
}

function manifests(instances: number): string {
  return Array.from({ length: deployments }, (_, at) => {
    const labels = { app: `w${at}` };
    const requests = { cpu: `${100 + 50 * at}m`, memory: `${64 + 32 * at}Mi` };
    const containers = [{ name: 'main', image: 'host:', command: ['sleep'], resources: { requests } }];
    return JSON.stringify({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: `w${at}` },
      spec: {
        replicas: instances / deployments,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers } },
      },
    });
  }).join('\n---\n');
}
