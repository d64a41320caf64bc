import { CloudosError } from '@cloudos/sdk';

/** Pages of which origins may use the gateway: its own, and those that were configured. */
export class Origins {
  readonly #allowed: ReadonlySet<string>;
  #own: ReadonlySet<string> = new Set();

  constructor(allowed: readonly string[]) {
    this.#allowed = new Set(allowed);
  }

  /** The gateway's own, once it knows where it listens: `http://127.0.0.1:7070`, and other names of the same address. */
  own(origins: readonly string[]): void {
    this.#own = new Set(origins);
  }

  allows(origin: string): boolean {
    return this.#own.has(origin) || this.#allowed.has(origin);
  }

  /** @throws CloudosError ORIGIN_FORBIDDEN. A request of no page (no `Origin` header) passes. */
  assert(origin: string | undefined): void {
    if (origin === undefined || this.allows(origin)) return;
    throw new CloudosError(
      'ORIGIN_FORBIDDEN',
      `a page of ${origin} sent the request; allowed: ${[...this.#own, ...this.#allowed].join(', ')}`,
    );
  }
}
