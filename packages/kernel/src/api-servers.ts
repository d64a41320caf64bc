import { type Activation, type PluginSpec, type Slot, withinDeadline } from '@cloudos/plugin-bus';
import { type ApiDriver, type Clock, CloudosError, type KernelAccess, messageOf, type PluginView } from '@cloudos/sdk';
import type { Kernel } from './kernel.ts';
import type { SlotFactory } from './slot-factory.ts';

/** How long an `api` plugin may take to begin to listen, or to end its connections. */
const listenDeadlineMs = 10_000;

/** One `api` plugin of the stack: its slot, and where the one in charge listens. */
export class ApiServer {
  readonly slot: Slot<'api'>;
  readonly #clock: Clock;
  #serving: { readonly activation: Activation<ApiDriver>; readonly url: string } | undefined;

  constructor(spec: PluginSpec, slots: SlotFactory, kernel: KernelAccess, clock: Clock) {
    this.#clock = clock;
    this.slot = slots.make(
      'api',
      spec,
      {
        activated: (activation) => this.#open(activation),
        deactivated: (activation) => this.#close(activation),
        failed: () => {},
      },
      undefined,
      kernel,
    );
  }

  get url(): string | undefined {
    return this.#serving?.url;
  }

  /**
   * Has the successor listen in place of the predecessor, on the same port where it is configured so. When it cannot,
   * the predecessor listens again.
   */
  async handOver(successor: Activation<ApiDriver>, predecessor: Activation<ApiDriver> | undefined): Promise<void> {
    if (predecessor) await this.#close(predecessor);
    try {
      await this.#open(successor);
    } catch (error) {
      if (predecessor) {
        await this.#open(predecessor).catch((again: unknown) => {
          void this.slot.fail(again, predecessor);
        });
      }
      throw error;
    }
  }

  async #open(activation: Activation<ApiDriver>): Promise<void> {
    if (this.#serving?.activation === activation) return;
    const { url } = await this.#inTime('open', () => activation.provider.open());
    this.#serving = { activation, url };
  }

  async #close(activation: Activation<ApiDriver>): Promise<void> {
    if (this.#serving?.activation !== activation) return;
    this.#serving = undefined;
    await this.#inTime('close', () => activation.provider.close());
  }

  #inTime<T>(what: string, call: () => Promise<T>): Promise<T> {
    const { plugin } = this.slot.view();
    return withinDeadline(this.#clock, `${plugin}: ${what}`, listenDeadlineMs, call);
  }
}

/** The native APIs of the stack, in the order of the stack file. One that fails takes no other with it. */
export class ApiServers {
  readonly #specs: readonly PluginSpec[];
  readonly #slots: SlotFactory;
  readonly #clock: Clock;
  #servers: readonly ApiServer[] = [];

  constructor(specs: readonly PluginSpec[], slots: SlotFactory, clock: Clock) {
    this.#specs = specs;
    this.#slots = slots;
    this.#clock = clock;
  }

  get servers(): readonly ApiServer[] {
    return this.#servers;
  }

  async start(kernel: Kernel): Promise<void> {
    const access = accessTo(kernel);
    this.#servers = this.#specs.map((spec) => new ApiServer(spec, this.#slots, access, this.#clock));
    await Promise.all(this.#servers.map(({ slot }) => slot.start()));
  }

  /** Listens no more. @throws AggregateError with what went wrong, after everything was tried */
  async stop(): Promise<void> {
    const closed = await Promise.allSettled(this.#servers.map(({ slot }) => slot.close()));
    const failures = closed.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []));
    if (failures.length > 0) throw new AggregateError(failures, failures.map(messageOf).join('; '));
  }

  /** The views of slots, with the addresses of those that listen. */
  withAddresses(views: readonly PluginView[]): PluginView[] {
    const urls = new Map(this.#servers.map(({ slot, url }) => [slot.view().plugin, url]));
    return views.map((view) => {
      const url = view.slot === 'api' ? urls.get(view.plugin) : undefined;
      return url === undefined ? view : { ...view, url };
    });
  }

  /**
   * Which of them a swap is about: the one that is named, else the one of the same plugin, else the only one.
   * @throws CloudosError COMMAND_INVALID, also when the successor serves beside it already
   */
  choose(plugin: string, replaces: string | undefined): ApiServer {
    const pluginOf = ({ slot }: ApiServer) => slot.view().plugin;
    const named = this.#servers.find((server) => pluginOf(server) === (replaces ?? plugin));
    const chosen = named ?? (replaces === undefined && this.#servers.length === 1 ? this.#servers[0] : undefined);
    if (!chosen) {
      const there = this.#servers.map(pluginOf).join(', ') || 'none';
      throw new CloudosError('COMMAND_INVALID', `which api plugin shall be replaced? There are: ${there}`, {
        remedy: 'Name it with --replaces, or add one to the stack file.',
      });
    }
    if (this.#servers.some((server) => server !== chosen && pluginOf(server) === plugin)) {
      throw new CloudosError('COMMAND_INVALID', `${plugin} serves already, beside ${pluginOf(chosen)}`);
    }
    return chosen;
  }
}

/** No more of the kernel than its plugins are promised. */
function accessTo(kernel: Kernel): KernelAccess {
  const { log } = kernel;
  return {
    log: {
      read: (range) => log.read(range),
      subscribe: (from, filter, backpressure) => log.subscribe(from, filter, backpressure),
      head: () => log.head(),
    },
    status: () => kernel.status(),
    view: (at) => kernel.view(at),
    plugins: () => kernel.plugins(),
    policy: (slot) => kernel.policy(slot),
    command: (command, options) => kernel.command(command, options),
    why: (subject) => kernel.why(subject),
    exec: (instance, request) => kernel.exec(instance, request),
    logs: (instance, request) => kernel.logs(instance, request),
    stats: (instance) => kernel.stats(instance),
  };
}
