import { CloudosError } from '@cloudos/sdk';
import { localPrincipal, type Principal } from '../access/principal.ts';
import type { GatewayLimits } from './limits.ts';
import { Quota } from './quota.ts';
import { Rate } from './rate.ts';

/** Holds tokens and addresses to the limits. */
export class Admission {
  readonly #limits: GatewayLimits;
  readonly #connections: Quota;
  readonly #subscriptions: Quota;
  readonly #requestsOfToken: Rate;
  readonly #requestsOfAddress: Rate;
  readonly #refusals: Rate;
  readonly #messagesOfToken: Rate;
  readonly #messagesOfAddress: Rate;

  constructor(limits: GatewayLimits) {
    this.#limits = limits;
    this.#connections = new Quota(limits.connectionsPerToken);
    this.#subscriptions = new Quota(limits.subscriptionsPerToken);
    this.#requestsOfToken = new Rate(limits.requestsPerSecondPerToken);
    this.#requestsOfAddress = new Rate(limits.requestsPerSecondPerAddress);
    this.#refusals = new Rate(limits.refusalsPerMinutePerAddress / 60, 60);
    this.#messagesOfToken = new Rate(limits.messagesPerSecondPerToken);
    this.#messagesOfAddress = new Rate(limits.messagesPerSecondPerAddress);
  }

  /**
   * A request with a token that is good. That of the token file always passes: nobody else on the machine can lock its
   * holder out.
   * @throws CloudosError RATE_LIMITED
   */
  request(principal: Principal, address: string): void {
    if (principal === localPrincipal) return;
    this.#address(address);
    const waitMs = this.#requestsOfToken.take(principal.id);
    if (waitMs > 0) {
      throw limited(`${this.#limits.requestsPerSecondPerToken} requests a second of the token ${principal.id}`, waitMs);
    }
  }

  /**
   * A request of that address was refused for its token or its origin.
   * @throws CloudosError RATE_LIMITED, to be told instead
   */
  refused(address: string): void {
    this.#address(address);
    const waitMs = this.#refusals.take(address);
    if (waitMs > 0) {
      throw limited(`${this.#limits.refusalsPerMinutePerAddress} refused requests a minute from ${address}`, waitMs);
    }
  }

  #address(address: string): void {
    const waitMs = this.#requestsOfAddress.take(address);
    if (waitMs > 0) {
      throw limited(`${this.#limits.requestsPerSecondPerAddress} requests a second from ${address}`, waitMs);
    }
  }

  /** A message came on a WebSocket. Returns 0, or how many milliseconds none must be taken any more (RATE_LIMITED). */
  message(principal: Principal, address: string): number {
    if (principal === localPrincipal) return 0;
    return Math.max(this.#messagesOfAddress.take(address), this.#messagesOfToken.take(principal.id));
  }

  /** The same for a message that is taken anyway. Returns for how long no more should be read. */
  charge(principal: Principal, address: string): number {
    if (principal === localPrincipal) return 0;
    return Math.max(this.#messagesOfAddress.charge(address), this.#messagesOfToken.charge(principal.id));
  }

  /** @throws CloudosError CONNECTIONS_EXCEEDED */
  connection(principal: Principal): () => void {
    const release = this.#connections.take(principal.id);
    if (release) return release;
    throw new CloudosError(
      'CONNECTIONS_EXCEEDED',
      `the token ${principal.id} has ${this.#connections.max} connections open, as many as it may`,
      { details: { connectionsPerToken: this.#connections.max, retryAfterMs: retryAfterMs } },
    );
  }

  /** @throws CloudosError SUBSCRIPTIONS_EXCEEDED */
  subscription(principal: Principal): () => void {
    const release = this.#subscriptions.take(principal.id);
    if (release) return release;
    throw new CloudosError(
      'SUBSCRIPTIONS_EXCEEDED',
      `the token ${principal.id} has ${this.#subscriptions.max} subscriptions open, as many as it may`,
      { details: { subscriptionsPerToken: this.#subscriptions.max, retryAfterMs } },
    );
  }
}

/** When to look again whether something was closed. */
const retryAfterMs = 5_000;

export function limited(allowed: string, waitMs: number): CloudosError {
  return new CloudosError('RATE_LIMITED', `more than the ${allowed} that are allowed; again in ${waitMs} ms`, {
    details: { retryAfterMs: waitMs },
  });
}
