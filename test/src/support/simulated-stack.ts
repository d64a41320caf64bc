import { MemoryEventLog } from '@cloudos/event-log';
import guestSimulated from '@cloudos/guest-simulated';
import hostSimulated from '@cloudos/host-simulated';
import { type BootOptions, bootKernel, type Kernel, parseStack } from '@cloudos/kernel';
import { givenPlugins } from '@cloudos/plugin-bus';
import { type AnyPlugin, apiVersion, definePlugin, newId, type RecordedEvent, systemClock } from '@cloudos/sdk';
import { z } from 'zod';
import { toyOrchestrator, toyResources } from './toy-policies.ts';

/** A log in memory that several kernels open one after another, as they would open the same file. */
export function sharedMemoryLog(options: Partial<ConstructorParameters<typeof MemoryEventLog>[0]> = {}) {
  const log = new MemoryEventLog({ clock: systemClock, newId, freeze: true, ...options });
  const plugin = definePlugin({
    name: 'log-shared',
    slot: 'log',
    apiVersion,
    description: 'a log that outlives its kernel',
    config: z.object({}),
    create: () => log,
  });
  return { log, plugin };
}

export interface StackOptions extends Partial<BootOptions> {
  readonly plugins?: never;
  readonly given?: readonly AnyPlugin[];
  readonly logPlugin: AnyPlugin;
  readonly nodes?: number;
  /** World of the simulated hosts and guests: a fresh one for each test. */
  readonly world: string;
  readonly resources?: unknown;
  readonly orchestrator?: unknown;
  readonly apis?: readonly unknown[];
  readonly guest?: Readonly<Record<string, unknown>>;
}

/** Boots a stack of simulated nodes in this process. */
export function bootSimulated(options: StackOptions): Promise<Kernel> {
  const {
    given = [],
    logPlugin,
    nodes = 3,
    world,
    resources,
    orchestrator,
    apis,
    guest,
    plugins: _,
    ...boot
  } = options;
  const stack = parseStack(
    JSON.stringify({
      apiVersion: 'cloudos/v1',
      kind: 'Stack',
      name: 'simulated',
      log: logPlugin.name,
      resources: resources ?? 'resources-toy',
      orchestrator: orchestrator ?? 'orchestrator-toy',
      ...(apis && { apis }),
      nodes: [
        {
          name: 'n',
          count: nodes,
          host: { plugin: 'host-simulated', config: { world } },
          guests: [{ plugin: 'guest-simulated', config: { world, ...guest } }],
        },
      ],
    }),
    'simulated.yaml',
  );
  const plugins = givenPlugins([logPlugin, hostSimulated, guestSimulated, toyResources, toyOrchestrator, ...given]);
  return bootKernel({ stateDir: 'unused', ...boot, stack, plugins });
}

/** Everything in a log. */
export async function everything(log: { read: Kernel['log']['read'] }): Promise<RecordedEvent[]> {
  const events: RecordedEvent[] = [];
  for await (const batch of log.read({})) events.push(...batch);
  return events;
}
