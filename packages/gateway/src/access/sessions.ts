import { CloudosError } from '@cloudos/sdk';
import type { Principal } from './principal.ts';

/** How long a timer may run at most (2^31 - 1 ms); a token that expires later is looked at again then. */
const timerMaxMs = 2_147_483_647;

type Close = (why: CloudosError) => void;

interface Group {
  readonly principal: Principal;
  readonly closes: Set<Close>;
  timer: NodeJS.Timeout | undefined;
}

/** The open connections of each token, so that they end with it. */
export class Sessions {
  readonly #groups = new Map<string, Group>();

  /** @param close ends the connection: told TOKEN_REVOKED or TOKEN_EXPIRED. Not called any more after the returned release. */
  hold(principal: Principal, close: Close): () => void {
    const group = this.#groups.get(principal.id) ?? { principal, closes: new Set(), timer: undefined };
    // Each hold is one of its own, also when a caller passes the same function twice.
    const own: Close = (why) => close(why);
    group.closes.add(own);
    if (group.closes.size === 1) {
      this.#groups.set(principal.id, group);
      this.#watch(group);
    }
    return () => {
      if (!group.closes.delete(own) || group.closes.size > 0) return;
      clearTimeout(group.timer);
      if (this.#groups.get(principal.id) === group) this.#groups.delete(principal.id);
    };
  }

  /** Ends every connection of a token. */
  end(id: string, why: CloudosError): void {
    const group = this.#groups.get(id);
    if (!group) return;
    this.#groups.delete(id);
    clearTimeout(group.timer);
    const closes = [...group.closes];
    group.closes.clear();
    for (const close of closes) close(why);
  }

  /** How many connections a token has open. */
  count(id: string): number {
    return this.#groups.get(id)?.closes.size ?? 0;
  }

  #watch(group: Group): void {
    const { id, expiresAt } = group.principal;
    if (expiresAt === undefined) return;
    const leftMs = expiresAt - Date.now();
    if (leftMs <= 0) return this.end(id, tokenExpired(group.principal));
    group.timer = setTimeout(() => this.#watch(group), Math.min(leftMs, timerMaxMs));
    group.timer.unref();
  }
}

export function tokenExpired({ name, id, expiresAt }: Principal): CloudosError {
  const time = new Date(expiresAt ?? 0).toISOString();
  return new CloudosError('TOKEN_EXPIRED', `the token ${name} (${id}) was valid until ${time}`);
}

export function tokenRevoked({ name, id }: Pick<Principal, 'name' | 'id'>): CloudosError {
  return new CloudosError('TOKEN_REVOKED', `the token ${name} (${id}) was revoked`);
}
