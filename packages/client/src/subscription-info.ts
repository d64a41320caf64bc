import type { EventFilter } from './event-filter.ts';

/** A named subscription, as `GET /v1/subscriptions` lists it. */
export interface SubscriptionInfo {
  readonly name: string;
  /** Id of the token whose it is. */
  readonly owner: string;
  readonly filter: EventFilter;
  /** Everything that it selects up to here was acknowledged; -1: nothing yet. */
  readonly cursor: number;
  /** Last position of the log. */
  readonly head: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  /** Connections that take from it now. */
  readonly consumers: number;
  /** Events that were read and are not acknowledged. */
  readonly outstanding: number;
}
