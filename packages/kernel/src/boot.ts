import { withSchemas } from '@cloudos/event-log';
import {
  checkConfig,
  expectSlot,
  installedPlugins,
  type LoadedPlugin,
  type PluginSource,
  type PluginSpec,
  Slot,
} from '@cloudos/plugin-bus';
import {
  asCloudosError,
  type Clock,
  CloudosError,
  type EventData,
  event,
  type IdSource,
  type Logger,
  type LogProvider,
  messageOf,
  newId,
  type SlotName,
  silentLogger,
  slots as slotTraits,
  systemClock,
} from '@cloudos/sdk';
import { ApiServers } from './api-servers.ts';
import { ClusterFeed } from './cluster/cluster-feed.ts';
import { Composition, token } from './composition.ts';
import { Shadows } from './hypothesis/shadows.ts';
import { IngressFeeder } from './ingress-feeder.ts';
import type { Kernel } from './kernel.ts';
import {
  abortOpenSwaps,
  type KernelHistory,
  KernelJournal,
  kernelStream,
  placeOf,
  readHistory,
} from './kernel-journal.ts';
import { Fleet } from './node/fleet.ts';
import { makeAgent } from './node/make-agent.ts';
import { policyLimits } from './policy/policy-runner.ts';
import { PolicySeat, type PolicySlotName } from './policy/policy-seat.ts';
import { type KernelLimits, RunningKernel } from './running-kernel.ts';
import { pluginDataDir, SlotFactory } from './slot-factory.ts';
import { type PluginEntry, readStack, type Stack, type StackNode } from './stack/stack.ts';
import { StreamWriter } from './stream-writer.ts';
import { Swapper } from './swap.ts';

export interface BootOptions {
  /** The stack file; or {@link stack}, if it was read already. */
  readonly stackFile?: string;
  readonly stack?: Stack;
  /** Where the log and what plugins keep lie. Made if it is not there. */
  readonly stateDir: string;
  readonly logger?: Logger;
  /** Steps of the boot, for people. */
  readonly onProgress?: (text: string) => void;
  /** The kernel cannot go on: another one has taken over the log, or the log is damaged. It has stopped by itself. */
  readonly onFatal?: (error: unknown) => void;
  readonly clock?: Clock;
  readonly newId?: IdSource;
  /** Where plugins come from (default: installed packages and paths beside the stack file). */
  readonly plugins?: PluginSource;
  readonly limits?: KernelLimits;
}

/** The plugins of a stack, found and with checked configuration. */
interface ResolvedStack {
  readonly log: PluginSpec;
  readonly resources: PluginSpec;
  readonly orchestrator: PluginSpec;
  readonly ingress: PluginSpec | undefined;
  readonly apis: readonly PluginSpec[];
  readonly nodes: readonly ResolvedNode[];
}

interface ResolvedNode {
  readonly name: string;
  readonly host: PluginSpec;
  readonly guests: readonly PluginSpec[];
}

/**
 * Assembles the stack and starts it: everything is found and checked first, then the log is opened, what it says is
 * taken in, nodes adopt what runs, and the policies go on deciding where they left off.
 * @throws CloudosError what is wrong with the stack, a plugin, its configuration or the log; nothing is left open then
 */
export async function bootKernel(options: BootOptions): Promise<Kernel> {
  const stack = options.stack ?? (await readStack(options.stackFile ?? 'cloudos.yaml'));
  const clock = options.clock ?? systemClock;
  const logger = options.logger ?? silentLogger;
  const progress = options.onProgress ?? (() => {});
  const plugins = options.plugins ?? installedPlugins(stack.dir);
  const declared = await resolveStack(stack, plugins);
  progress(`stack ${stack.name}: ${describe(declared)}`);

  const { slot: logSlot, log } = await openLog(declared.log, { ...options, clock, logger });
  try {
    const history = await readHistory(log, (error) => logger.warn(`the history of the kernel: ${messageOf(error)}`));
    const resolved = history.digest === stack.digest ? await withSwaps(declared, history, plugins) : declared;
    progress(`log open at position ${log.head()}`);
    const parts = compose({ ...options, clock, logger, stack, plugins, resolved, history, log });
    const kernel = new RunningKernel({
      ...parts,
      stack,
      logSlot,
      clock,
      newId: options.newId ?? newId,
      log,
      stateDir: options.stateDir,
      logger,
    });
    parts.fatal.handler = (error) => {
      logger.error(`the kernel cannot go on: ${messageOf(error)}`);
      const stopped = kernel.stop().catch((closing) => logger.warn(messageOf(closing)));
      void stopped.then(() => options.onFatal?.(error));
    };
    await kernel.start([...abortOpenSwaps(history), assembled(stack, resolved)], progress);
    return kernel;
  } catch (error) {
    await logSlot.close();
    throw error;
  }
}

async function openLog(
  spec: PluginSpec,
  { stateDir, clock, logger, newId: ids = newId, limits }: BootOptions & { clock: Clock; logger: Logger },
): Promise<{ slot: Slot<'log'>; log: LogProvider }> {
  const slot = new Slot<'log'>(spec, {
    slot: 'log',
    clock,
    newId: ids,
    logger,
    stateDir,
    dataDir: (plugin) => pluginDataDir(stateDir, plugin),
    hooks: { activated: () => {}, deactivated: () => {}, failed: () => {} },
    ...(limits?.slots && { limits: limits.slots }),
  });
  const activation = await slot.prepare(spec); // throws why the log cannot be opened, which a restart would not mend
  await slot.replace(activation, async () => {});
  return { slot, log: withSchemas(activation.provider) };
}

const tokens = {
  feed: token<ClusterFeed>('cluster feed'),
  journal: token<KernelJournal>('journal'),
  slots: token<SlotFactory>('slots'),
  fleet: token<Fleet>('fleet'),
  resources: token<PolicySeat>('resources'),
  orchestrator: token<PolicySeat>('orchestrator'),
  ingress: token<IngressFeeder | undefined>('ingress'),
  apis: token<ApiServers>('apis'),
  swapper: token<Swapper>('swapper'),
  shadows: token<Shadows>('shadows'),
};

interface ComposeOptions extends BootOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly stack: Stack;
  readonly plugins: PluginSource;
  readonly resolved: ResolvedStack;
  readonly history: KernelHistory;
  readonly log: LogProvider;
}

/** Wires the parts of the kernel. Nothing runs yet. */
function compose(options: ComposeOptions) {
  const { clock, logger, stateDir, plugins, resolved, history, log, limits, newId: ids = newId } = options;
  const fatal: { handler: (error: unknown) => void } = { handler: () => {} };
  const stopping = new AbortController();
  const writer = (stream: string, onFailure: (error: unknown) => void) =>
    new StreamWriter({
      log,
      stream,
      producer: { plugin: 'kernel', generation: (history.generations.get(placeOf(kernelStream)) ?? 0) + 1 },
      clock,
      newId: ids,
      signal: stopping.signal,
      onFailure,
    });
  const seat = (name: PolicySlotName, slots: SlotFactory) =>
    new PolicySeat({ name, spec: resolved[name], slots, log, clock, newId: ids, logger, limits: limits?.policies });
  const die = (error: unknown) => fatal.handler(error);

  const parts = new Composition()
    .provide(tokens.feed, () => new ClusterFeed(log, clock, logger, die))
    .provide(tokens.journal, () => new KernelJournal(writer(kernelStream, die), die))
    .provide(tokens.slots, (get) => {
      const slotOptions = { stateDir, clock, newId: ids, logger, limits: limits?.slots };
      return new SlotFactory(slotOptions, get(tokens.journal), history);
    })
    .provide(tokens.fleet, (get) => new Fleet(get(tokens.feed)))
    .provide(tokens.resources, (get) => seat('resources', get(tokens.slots)))
    .provide(tokens.orchestrator, (get) => seat('orchestrator', get(tokens.slots)))
    .provide(tokens.ingress, (get) => {
      const { ingress } = resolved;
      return ingress && new IngressFeeder(ingress, get(tokens.slots), get(tokens.feed), clock, logger);
    })
    .provide(tokens.apis, (get) => new ApiServers(resolved.apis, get(tokens.slots), clock))
    .provide(tokens.swapper, (get) => {
      const seats = { resources: get(tokens.resources), orchestrator: get(tokens.orchestrator) };
      const [journal, fleet, apis] = [get(tokens.journal), get(tokens.fleet), get(tokens.apis)];
      return new Swapper({ plugins, journal, seats, fleet, apis, clock });
    });

  parts.provide(tokens.shadows, (get) => {
    const { deadlineMs } = { ...policyLimits, ...limits?.policies };
    const inCharge = () => get(tokens.resources).slot.view().plugin;
    const dataDir = (plugin: string) => pluginDataDir(stateDir, `shadow-${plugin}`);
    return new Shadows({ plugins, log, clock, newId: ids, logger, dataDir, deadlineMs, inCharge });
  });
  const slots = parts.get(tokens.slots);
  const journal = parts.get(tokens.journal);
  const makeAgents = () =>
    resolved.nodes.map((node) =>
      makeAgent({
        ...node,
        slots,
        feed: parts.get(tokens.feed),
        clock,
        logger,
        journal,
        writer,
        onFatal: die,
        limits: limits?.nodes,
        usageAsked: () => parts.get(tokens.resources).slot.active?.provider.asks?.guestUsage === true,
      }),
    );
  return {
    fatal,
    stopping,
    makeAgents,
    slots,
    journal,
    feed: parts.get(tokens.feed),
    fleet: parts.get(tokens.fleet),
    seats: { resources: parts.get(tokens.resources), orchestrator: parts.get(tokens.orchestrator) },
    ingress: parts.get(tokens.ingress),
    apis: parts.get(tokens.apis),
    swapper: parts.get(tokens.swapper),
    shadows: parts.get(tokens.shadows),
  };
}

/** Loads every plugin and checks every configuration: nothing has started when something is wrong. */
export async function resolveStack(stack: Stack, plugins: PluginSource): Promise<ResolvedStack> {
  const resolve =
    (slot: SlotName) =>
    async (entry: PluginEntry): Promise<PluginSpec> => {
      const plugin = await plugins.load(entry.plugin);
      expectSlot(plugin, slot);
      checkConfig(plugin.definition, entry.config);
      return { plugin, config: entry.config ?? {} };
    };
  const resolved = {
    log: await resolve('log')(stack.log),
    resources: await resolve('resources')(stack.resources),
    orchestrator: await resolve('orchestrator')(stack.orchestrator),
    ingress: stack.ingress && (await resolve('ingress')(stack.ingress)),
    apis: await Promise.all((stack.apis ?? []).map(resolve('api'))),
    nodes: await Promise.all(
      stack.nodes.map(async ({ name, host, guests }: StackNode) => ({
        name,
        host: await resolve('host')(host),
        guests: await Promise.all(guests.map(resolve('guest'))),
      })),
    ),
  };
  for (const { name, guests } of resolved.nodes) refuseTwice(`node ${name}: guest`, guests);
  refuseTwice('api', resolved.apis);
  refuseMissing(resolved);
  return resolved;
}

function refuseTwice(where: string, specs: readonly PluginSpec[]): void {
  const names = specs.map(({ plugin }) => plugin.definition.name);
  const twice = names.find((plugin, at) => names.indexOf(plugin) !== at);
  if (twice) throw new CloudosError('SLOT_CONFLICT', `${where} plugin ${twice} is given twice`);
}

/** Slots that a plugin requires must be there. Host features are known only when the host has described itself. */
function refuseMissing(resolved: ResolvedStack): void {
  const present = new Set<string>([
    'log',
    'resources',
    'orchestrator',
    'host',
    'guest',
    ...(resolved.ingress ? ['ingress'] : []),
    ...(resolved.apis.length > 0 ? ['api'] : []),
  ]);
  for (const { plugin } of all(resolved)) {
    for (const required of plugin.definition.requires ?? []) {
      if (!Object.hasOwn(slotTraits, required) || present.has(required)) continue;
      throw new CloudosError(
        'PLUGIN_REQUIREMENT',
        `${plugin.definition.name} requires slot ${required}, which the stack leaves empty`,
      );
    }
  }
}

function all({ log, resources, orchestrator, ingress, apis, nodes }: ResolvedStack): PluginSpec[] {
  const perNode = nodes.flatMap(({ host, guests }) => [host, ...guests]);
  return [log, resources, orchestrator, ...(ingress ? [ingress] : []), ...apis, ...perNode];
}

/** What swaps since this stack file was first assembled have put in place of what the file says. */
async function withSwaps(
  stack: ResolvedStack,
  { swaps }: KernelHistory,
  plugins: PluginSource,
): Promise<ResolvedStack> {
  let { resources, orchestrator, apis, nodes } = stack;
  for (const { slot, node, from, to, reference, config } of swaps) {
    const spec: PluginSpec = { plugin: await loadSwapped(plugins, reference ?? to, slot), config: config ?? {} };
    if (slot === 'resources') resources = spec;
    else if (slot === 'orchestrator') orchestrator = spec;
    else if (slot === 'api') apis = inPlaceOf(from, spec, apis);
    else nodes = nodes.map((each) => (each.name === node ? swapOnNode(each, slot, from, spec) : each));
  }
  return { ...stack, resources, orchestrator, apis, nodes };
}

async function loadSwapped(plugins: PluginSource, reference: string, slot: string): Promise<LoadedPlugin> {
  try {
    return await plugins.load(reference);
  } catch (thrown) {
    const error = asCloudosError(thrown, 'PLUGIN_NOT_FOUND');
    throw new CloudosError(error.code, `${reference} was swapped into slot ${slot}: ${error.message}`, {
      cause: error,
      remedy: 'Install it again, or change the stack file: a changed file overrides swaps.',
    });
  }
}

function swapOnNode(node: ResolvedNode, slot: string, from: string, spec: PluginSpec): ResolvedNode {
  if (slot === 'host') return { ...node, host: spec };
  return { ...node, guests: inPlaceOf(from, spec, node.guests) };
}

function inPlaceOf(from: string, spec: PluginSpec, specs: readonly PluginSpec[]): PluginSpec[] {
  return specs.map((each) => (each.plugin.definition.name === from ? spec : each));
}

function assembled(stack: Stack, resolved: ResolvedStack) {
  const entry =
    (slot: SlotName, node?: string) =>
    ({ plugin }: PluginSpec) => ({
      slot,
      plugin: plugin.definition.name,
      version: plugin.version,
      ...(node !== undefined && { node }),
    });
  const { log, resources, orchestrator, ingress, apis, nodes } = resolved;
  const plugins: EventData<'StackAssembled'>['plugins'] = [
    entry('log')(log),
    entry('resources')(resources),
    entry('orchestrator')(orchestrator),
    ...(ingress ? [entry('ingress')(ingress)] : []),
    ...apis.map(entry('api')),
    ...nodes
      .slice(0, nodesListed)
      .flatMap(({ name, host, guests }) => [entry('host', name)(host), ...guests.map(entry('guest', name))]),
  ];
  return event('StackAssembled', { stack: stack.name, digest: stack.digest, plugins });
}

/** Nodes whose plugins StackAssembled lists; PluginActivated tells of each anyway. */
const nodesListed = 100;

function describe({ log, resources, orchestrator, apis, nodes }: ResolvedStack): string {
  const name = ({ plugin }: PluginSpec) => plugin.definition.name;
  const guests = new Set(nodes.flatMap((node) => node.guests.map(name)));
  const hosts = new Set(nodes.map(({ host }) => name(host)));
  const parts = [name(log), [...hosts].join(', '), name(resources), name(orchestrator), [...guests].join(', ')];
  return [...parts, ...apis.map(name)].join(' + ');
}
