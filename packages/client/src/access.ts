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

/**
 * The WebSocket subprotocol entry that carries a token: `cloudos.bearer.<token>`, offered beside the subprotocol that
 * is to be spoken. For browsers, which cannot set headers on a WebSocket; never selected by the server.
 */
export const bearerProtocolPrefix = 'cloudos.bearer.';
