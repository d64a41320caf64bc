import { CloudEventWriter, type EventFilter, type SubscriptionInfo } from '@cloudos/client';
import type { Kernel } from '@cloudos/kernel';
import { CloudosError } from '@cloudos/sdk';
import { holds, type Principal } from '../../access/principal.ts';
import { compileFilters, normalFilter } from '../feed-filter.ts';
import { NamedSubscription } from './named-subscription.ts';
import { type SubscriptionRecord, SubscriptionStore } from './subscription-store.ts';

/** Named subscriptions at most, of all principals. */
export const subscriptionsMax = 1_000;

/** The named subscriptions of a gateway: those that are kept, and those that are in use. */
export class NamedSubscriptions {
  readonly #kernel: Kernel;
  readonly #store: SubscriptionStore;
  readonly #writer: CloudEventWriter;
  readonly #open = new Map<string, NamedSubscription>();
  readonly #perTokenMax: number;

  private constructor(kernel: Kernel, store: SubscriptionStore, perTokenMax: number) {
    this.#kernel = kernel;
    this.#perTokenMax = perTokenMax;
    this.#store = store;
    this.#writer = new CloudEventWriter(kernel.status().stack);
  }

  /** @param perTokenMax subscriptions that one token may have made, connected or not */
  static async open(kernel: Kernel, stateDir: string, perTokenMax: number): Promise<NamedSubscriptions> {
    return new NamedSubscriptions(kernel, await SubscriptionStore.open(stateDir), perTokenMax);
  }

  /**
   * The subscription of that name, made where there is none. A filter that is given must be the one it was made with.
   * @param from where a new one begins
   * @throws CloudosError SUBSCRIPTION_CONFLICT, SUBSCRIPTION_NOT_FOUND when it is of another token, SUBSCRIPTIONS_EXCEEDED
   */
  async join(
    name: string,
    principal: Principal,
    filter: EventFilter,
    from: () => Promise<number>,
  ): Promise<NamedSubscription> {
    const found = this.#store.get(name);
    const record = found ?? (await this.#create(name, principal, filter, await from()));
    if (found) this.#assertSame(found, principal, filter);
    const running = this.#open.get(name);
    if (running) return running;
    const compiled = await compileFilters([record.filter], this.#kernel.log);
    // Somebody else may have been faster meanwhile.
    const other = this.#open.get(name);
    if (other) return other;
    // Or have deleted it: nobody would end one that is kept nowhere.
    if (!this.#store.get(name)) throw notFound(name);
    const subscription = new NamedSubscription(this.#kernel, this.#store, record, compiled, this.#writer, () => {
      if (this.#open.get(name) === subscription) this.#open.delete(name);
    });
    this.#open.set(name, subscription);
    return subscription;
  }

  list(principal: Principal): readonly SubscriptionInfo[] {
    return this.#store
      .list()
      .filter((record) => owns(record, principal))
      .map((record) => this.#info(record));
  }

  /** @throws CloudosError SUBSCRIPTION_NOT_FOUND */
  async delete(name: string, principal: Principal): Promise<SubscriptionInfo> {
    const record = this.#store.get(name);
    if (!record || !owns(record, principal)) throw notFound(name);
    const info = this.#info(record);
    this.#open.get(name)?.end({ code: 4410, text: 'SUBSCRIPTION_NOT_FOUND: it was deleted' });
    await this.#store.delete(name);
    return info;
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  async #create(name: string, principal: Principal, filter: EventFilter, from: number): Promise<SubscriptionRecord> {
    const kept = this.#store.list();
    const own = kept.filter(({ owner }) => owner === principal.id).length;
    if (kept.length >= subscriptionsMax || own >= this.#perTokenMax) {
      const [max, whose] =
        own >= this.#perTokenMax ? [this.#perTokenMax, ` of the token ${principal.id}`] : [subscriptionsMax, ''];
      throw new CloudosError(
        'SUBSCRIPTIONS_EXCEEDED',
        `${max} named subscriptions${whose} are kept, as many as may be`,
        {
          remedy: 'Delete those that nobody uses: `cloudos subscription list`.',
        },
      );
    }
    const record = { name, owner: principal.id, filter: normalFilter(filter), cursor: from - 1, createdAt: Date.now() };
    await this.#store.put(record);
    return record;
  }

  #assertSame(record: SubscriptionRecord, principal: Principal, filter: EventFilter): void {
    if (!owns(record, principal)) throw notFound(record.name);
    const given = normalFilter(filter);
    if (Object.keys(given).length === 0 || JSON.stringify(given) === JSON.stringify(record.filter)) return;
    throw new CloudosError(
      'SUBSCRIPTION_CONFLICT',
      `subscription ${record.name} has the filter ${JSON.stringify(record.filter)}; given ${JSON.stringify(given)}`,
      { details: { filter: record.filter, given } },
    );
  }

  #info(record: SubscriptionRecord): SubscriptionInfo {
    const running = this.#open.get(record.name);
    const { name, owner, filter, createdAt } = record;
    const { cursor } = running?.record ?? record;
    const counts = { consumers: running?.consumers ?? 0, outstanding: running?.outstanding ?? 0 };
    return { name, owner, filter, cursor, head: this.#kernel.log.head(), createdAt, ...counts };
  }
}

function owns(record: SubscriptionRecord, principal: Principal): boolean {
  return record.owner === principal.id || holds(principal, 'admin');
}

function notFound(name: string): CloudosError {
  return new CloudosError('SUBSCRIPTION_NOT_FOUND', `there is no subscription ${name} of this token`);
}
