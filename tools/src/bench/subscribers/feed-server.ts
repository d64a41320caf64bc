import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type Gateway, startGateway } from '@cloudos/gateway';
import type { Kernel } from '@cloudos/kernel';
import { LmdbEventLog } from '@cloudos/log-lmdb';
import type { RecordedEvent } from '@cloudos/sdk';
import { eventPool, streamCount, streams } from '../log-load.ts';
import { type Publishing, type ServerTasks, serveTasks } from './tasks.ts';

/** Events of one append, as a busy writer makes them. */
const batchEvents = 64;

/** The gateway over a log of its own, in a process of its own. Tasks come over IPC. */
export async function feedServer(directory: string): Promise<void> {
  const log = await LmdbEventLog.open({ directory: `${directory}/log` });
  // Before the gateway follows the log: what that does with an event is not part of the time until it is durable.
  let durable: (events: readonly RecordedEvent[]) => void = () => {};
  log.subscribe(log.head() + 1).subscribe((events) => durable(events));
  const startedAt = Date.now();
  const kernel = {
    log,
    status: () => ({
      stack: 'bench',
      pid: process.pid,
      version: '0',
      startedAt,
      head: log.head(),
      stateDir: directory,
    }),
    append: log.append.bind(log),
  } as unknown as Kernel;
  const many = 20_000;
  const gateway: Gateway = await startGateway({
    kernel,
    stateDir: directory,
    bounds: { socketsMax: many, connectionsMax: many },
    limits: {
      connectionsPerToken: many,
      connectionsPerAddress: many,
      subscriptionsPerToken: many,
      requestsPerSecondPerAddress: many,
    },
  });
  let durableMs: number[] = [];
  let next = 0;
  const append = (events: number) => {
    const from = next;
    next += events;
    const batch = Array.from({ length: events }, (_, at) => eventPool[(from + at) % eventPool.length]!);
    return log.append(streams[from % streamCount]!, batch, 'any');
  };
  const tasks: ServerTasks = {
    where: async () => ({ url: gateway.url, token: gateway.token }),
    /** Everything that the subscribers have not taken yet stays below the window. */
    publish: async ({ events, window }: Publishing, progress) => {
      let last: Promise<unknown> = Promise.resolve();
      for (let sent = 0; sent < events; sent += batchEvents) {
        await progress.below(sent, window);
        last = append(Math.min(batchEvents, events - sent));
      }
      await last;
    },
    /** From here on, how long each event took from its `at` until it was durable, as the first subscriber of the log sees it. */
    watch: async ({ events }: { readonly events: number }) => {
      durableMs = new Array<number>(events);
      durable = (batch) => {
        const now = process.hrtime.bigint();
        for (const { data } of batch) {
          const { at, n } = data as { at: string; n: number };
          durableMs[n] = Number(now - BigInt(at)) / 1e6;
        }
      };
    },
    watched: async () => {
      durable = () => {};
      return durableMs;
    },
    fill: async ({ events }: { readonly events: number }) => {
      const lane = async () => {
        while (next < events) await append(Math.min(batchEvents, events - next));
      };
      await Promise.all(Array.from({ length: 16 }, lane));
    },
    /** Something that seldom happens. */
    rare: async () => {
      const meta = { correlation: 'rare-chain' };
      const data = { workload: 'default/rare', note: 'seldom' };
      const events = Array.from({ length: batchEvents }, () => ({ type: 'x-bench-RareEvent', data, meta }));
      await log.append('x-rare-1', events, 'any');
    },
    head: async () => log.head(),
    memory: async () => {
      globalThis.gc?.();
      return process.memoryUsage().rss;
    },
    lag: async ({ forMs }: { readonly forMs: number }) => {
      const delay = monitorEventLoopDelay({ resolution: 1 });
      delay.enable();
      await new Promise((resolve) => setTimeout(resolve, forMs));
      delay.disable();
      return delay.percentile(99) / 1e6 - 1;
    },
  };
  serveTasks(tasks);
}
