import type { PluginSpec, Slot } from '@cloudos/plugin-bus';
import { type Clock, type Logger, messageOf, type ServiceAddress } from '@cloudos/sdk';
import type { Subscription } from 'rxjs';
import type { ClusterFeed } from './cluster/cluster-feed.ts';
import type { SlotFactory } from './slot-factory.ts';

/** After the ingress could not serve everything (a port is in use), it is told again that much later. */
const retryDelayMs = 5_000;

/** Tells the ingress which services there are and where their ready instances are, whenever that changes. */
export class IngressFeeder {
  readonly slot: Slot<'ingress'>;
  readonly #feed: ClusterFeed;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #cancelRetry: () => void = () => {};
  #addresses: ReadonlyMap<string, ServiceAddress> = new Map();
  #subscription: Subscription | undefined;
  #applying: Promise<void> | undefined;
  #dirty = false;

  constructor(spec: PluginSpec, slots: SlotFactory, feed: ClusterFeed, clock: Clock, logger: Logger) {
    this.#feed = feed;
    this.#clock = clock;
    this.#logger = logger;
    this.slot = slots.make('ingress', spec, {
      activated: () => this.#changed(),
      deactivated: () => {
        this.#addresses = new Map();
      },
      failed: () => {},
    });
  }

  /** Where services are reached now, by name. */
  get addresses(): ReadonlyMap<string, ServiceAddress> {
    return this.#addresses;
  }

  async start(): Promise<void> {
    this.#subscription = this.#feed.changes.subscribe((events) => {
      if (events.some(({ type }) => type.startsWith('Service'))) this.#changed();
    });
    await this.slot.start();
  }

  async stop(): Promise<void> {
    this.#subscription?.unsubscribe();
    this.#cancelRetry();
    await this.#applying;
    await this.slot.close();
  }

  #changed(): void {
    this.#dirty = true;
    this.#applying ??= this.#apply();
  }

  async #apply(): Promise<void> {
    while (this.#dirty) {
      this.#dirty = false;
      const services = [...this.#feed.state.services.values()].map(({ spec, endpoints }) => ({ spec, endpoints }));
      try {
        const addresses = await this.slot.call('apply', (driver) => driver.apply(services));
        this.#addresses = new Map(addresses.map((address) => [address.service, address]));
      } catch (error) {
        this.#logger.warn(`ingress: ${messageOf(error)}`);
        this.#cancelRetry();
        this.#cancelRetry = this.#clock.after(retryDelayMs, () => this.#changed());
      }
    }
    this.#applying = undefined;
  }
}
