import type { CloudosError } from '@cloudos/sdk';
import type { Access } from './access.ts';
import type { Principal } from './principal.ts';

/** One open connection of a principal: what its server side needs to keep to what the token may. */
export interface Session {
  readonly principal: Principal;
  /**
   * Counts one more event subscription until the release is called.
   * @throws CloudosError SUBSCRIPTIONS_EXCEEDED
   */
  subscription(): () => void;
  /** To be called for each message of the peer. Returns 0, or how many milliseconds it must wait (RATE_LIMITED). */
  message(): number;
  /** The same where a message cannot be refused: how many milliseconds no more should be read. */
  charge(): number;
}

/**
 * Opens a session of a peer at that address: counts the connection, and calls `close` when the token is revoked or expires.
 * @throws CloudosError CONNECTIONS_EXCEEDED
 */
export function openSession(
  { admission, sessions }: Access,
  principal: Principal,
  address: string,
  close: (why: CloudosError) => void,
): Session & { release(): void } {
  const leave = admission.connection(principal);
  const unhold = sessions.hold(principal, close);
  return {
    principal,
    subscription: () => admission.subscription(principal),
    message: () => admission.message(principal, address),
    charge: () => admission.charge(principal, address),
    release: () => {
      unhold();
      leave();
    },
  };
}
