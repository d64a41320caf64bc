import { type ResourcesPolicy, readStack, type Stack } from '@cloudos/kernel';
import { checkConfig, expectSlot, loadPlugin } from '@cloudos/plugin-bus';
import {
  type HostDriver,
  type HostInventory,
  newId,
  type OrchestratorCommand,
  type PluginDefinition,
  type Policy,
  Scope,
  silentLogger,
  systemClock,
} from '@cloudos/sdk';
import type { TraceRecord } from '@cloudos/what-if';

export interface StackPolicy {
  /** Name of the stack; with that of the plugin where stacks have the same. */
  readonly name: string;
  readonly policy: ResourcesPolicy;
  readonly orchestrator: Policy<unknown, OrchestratorCommand>;
  /** The nodes that the stack names, as their hosts describe them. */
  readonly nodes: (runtimes: readonly string[], timeMs: number) => Promise<TraceRecord[]>;
}

/** The policies of stacks, each in the configuration that its stack gives it. */
export async function policiesOf(files: readonly string[]): Promise<StackPolicy[]> {
  const names = new Map<string, number>();
  const policies: StackPolicy[] = [];
  for (const file of files) {
    const stack = await readStack(file);
    const plugin = await loadPlugin(stack.resources.plugin, stack.dir);
    expectSlot(plugin, 'resources');
    const config = checkConfig(plugin.definition, stack.resources.config);
    const { create } = plugin.definition as PluginDefinition<'resources', unknown>;
    const policy = (await create(context('what-if'), config)) as ResourcesPolicy;
    const orchestrating = await loadPlugin(stack.orchestrator.plugin, stack.dir);
    expectSlot(orchestrating, 'orchestrator');
    const settings = checkConfig(orchestrating.definition, stack.orchestrator.config);
    const { create: make } = orchestrating.definition as PluginDefinition<'orchestrator', unknown>;
    const orchestrator = (await make(context('what-if'), settings)) as StackPolicy['orchestrator'];
    const short = `${stack.name} (${plugin.definition.name.replace(/^resources-/, '')})`;
    const seen = names.get(short) ?? 0;
    names.set(short, seen + 1);
    const name = seen === 0 ? short : `${short} ${seen + 1}`;
    policies.push({ name, policy, orchestrator, nodes: (runtimes, timeMs) => nodesOf(stack, runtimes, timeMs) });
  }
  return policies;
}

async function nodesOf(stack: Stack, runtimes: readonly string[], timeMs: number): Promise<TraceRecord[]> {
  const scope = new Scope('hosts of what-if');
  try {
    const records: TraceRecord[] = [];
    for (const { name, host } of stack.nodes) {
      const { definition } = await loadPlugin(host.plugin, stack.dir);
      const { create } = definition as PluginDefinition<'host', unknown>;
      const driver = await create(
        { ...context(name, scope), node: { id: name } },
        checkConfig(definition, host.config),
      );
      const { capacity, attributes } = await firstOf(driver);
      records.push({
        kind: 'node',
        timeMs,
        node: name,
        capacity,
        attributes: { ...attributes },
        runtimes: [...runtimes],
      });
    }
    return records;
  } finally {
    await scope.close();
  }
}

function firstOf(driver: HostDriver): Promise<HostInventory> {
  return new Promise((resolve, reject) => {
    const subscription = driver.inventory().subscribe({ next, error: reject });
    function next(inventory: HostInventory): void {
      resolve(inventory);
      queueMicrotask(() => subscription.unsubscribe());
    }
  });
}

function context(name: string, scope = new Scope(name)) {
  const dataDir = '/nonexistent';
  const fail = (error: unknown) => {
    throw error;
  };
  return { scope, logger: silentLogger, clock: systemClock, newId, generation: 1, dataDir, stateDir: dataDir, fail };
}
