import type { EventFilter } from './event-filter.ts';

/**
 * What a token may do. A token holds any number of them.
 * - `events:read`: read events, within the bound of the token if it has one
 * - `state:read`: views, plugins, explanations, statistics of guests, the doctor's report
 * - `orchestrator:command`, `resources:command`: commands to the policy of that slot
 * - `guests:exec`, `guests:logs`: run commands in guests, read their output
 * - `streams:append`: append to streams whose name begins with `x-`
 * - `admin`: all of it, and swaps, stopping, and the tokens themselves
 */
export const scopes = [
  'events:read',
  'state:read',
  'orchestrator:command',
  'resources:command',
  'guests:exec',
  'guests:logs',
  'streams:append',
  'admin',
] as const;

export type Scope = (typeof scopes)[number];

/** What a token shall be: the body of `POST /v1/tokens`. */
export interface TokenRequest {
  /** For people; unique among the active ones. 1 to 100 letters, digits, `.`, `_`, `-`. */
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Bounds `events:read`: only events that match can be read with it. Absent: all. */
  readonly events?: Omit<EventFilter, 'cause'>;
  /** Bounds `streams:append`: names or, with `*` at the end, prefixes; each begins with `x-`. Absent: all of those. */
  readonly appends?: readonly string[];
  /** How long it is valid, at most ten years; null: until it is revoked. Default: 90 days. */
  readonly ttlMs?: number | null;
}

/** A token as it is listed: everything but the token itself, which only its creator is told. */
export interface TokenInfo {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly events?: Omit<EventFilter, 'cause'>;
  readonly appends?: readonly string[];
  readonly state: 'active' | 'expired' | 'revoked';
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly expiresAt?: number;
  readonly revokedAt?: number;
}

/** Answer of `POST /v1/tokens`: the only time that the token is told. */
export interface CreatedToken extends TokenInfo {
  readonly token: string;
}

/**
 * The WebSocket subprotocol entry that carries a token: `cloudos.bearer.<token>`, offered beside the subprotocol that
 * is to be spoken. For browsers, which cannot set headers on a WebSocket; never selected by the server.
 */
export const bearerProtocolPrefix = 'cloudos.bearer.';
