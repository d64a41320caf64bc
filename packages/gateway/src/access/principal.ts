import type { EventFilter, Scope } from '@cloudos/client';
import { CloudosError } from '@cloudos/sdk';
import { type EventsBound, narrowed } from './narrowed.ts';

/** Who sent a request: a token, and what it may do. */
export interface Principal {
  /** Of the token; `local` for the one in the token file. Names the owner of limits and of what is kept for a client. */
  readonly id: string;
  /** As its creator called it. */
  readonly name: string;
  readonly scopes: ReadonlySet<Scope>;
  /** What it may read of the events; undefined: all. */
  readonly events: EventsBound | undefined;
  /** Streams it may append to, `*` at the end matches any rest. Each begins with `x-`. */
  readonly appends: readonly string[];
  /** Epoch milliseconds. */
  readonly expiresAt: number | undefined;
}

/** The holder of the token file: whoever may read it owns the kernel. */
export const localPrincipal: Principal = {
  id: 'local',
  name: 'token file',
  scopes: new Set<Scope>(['admin']),
  events: undefined,
  appends: ['x-*'],
  expiresAt: undefined,
};

export function holds(principal: Principal, scope: Scope): boolean {
  return principal.scopes.has(scope) || principal.scopes.has('admin');
}

/** @throws CloudosError SCOPE_MISSING naming the scope, and those that the token holds */
export function assertScope(principal: Principal, scope: Scope): void {
  if (holds(principal, scope)) return;
  throw new CloudosError(
    'SCOPE_MISSING',
    `this needs the scope ${scope}; the token ${principal.name} (${principal.id}) holds ${[...principal.scopes].join(', ') || 'none'}`,
    { details: { scope, held: [...principal.scopes] } },
  );
}

/**
 * The filter to read events with: what was asked for, within what the token may read.
 * @throws CloudosError SCOPE_MISSING, also when a condition asks for what lies wholly outside of it
 */
export function readable(principal: Principal, asked: EventFilter): EventFilter {
  assertScope(principal, 'events:read');
  return principal.events === undefined || principal.scopes.has('admin') ? asked : narrowed(asked, principal.events);
}

/** @throws CloudosError SCOPE_MISSING when the token may not append to that stream */
export function assertAppend(principal: Principal, stream: string): void {
  assertScope(principal, 'streams:append');
  const fits = (pattern: string) =>
    pattern.endsWith('*') ? stream.startsWith(pattern.slice(0, -1)) : stream === pattern;
  if (stream.startsWith('x-') && principal.appends.some(fits)) return;
  throw new CloudosError(
    'SCOPE_MISSING',
    `the token ${principal.name} (${principal.id}) may append to ${principal.appends.join(', ') || 'no stream'}; given ${stream}`,
    { details: { scope: 'streams:append', streams: principal.appends, given: stream } },
  );
}
