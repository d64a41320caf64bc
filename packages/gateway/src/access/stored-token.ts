import { createHash, randomBytes } from 'node:crypto';
import { eventLayers, scopes, type TokenInfo } from '@cloudos/client';
import { z } from 'zod';
import type { Principal } from './principal.ts';

/** What every token begins with, so that scanners for secrets find one that got lost. */
export const tokenPrefix = 'cloudos_';
const secretBytes = 32;

const pattern = z.string().min(1).max(300);
const patterns = z.array(pattern).min(1).max(100);

export const eventsBound = z.strictObject({
  types: patterns.optional(),
  streams: patterns.optional(),
  workload: pattern.optional(),
  node: pattern.optional(),
  layer: z.enum(eventLayers).optional(),
});
export const appendsBound = z.array(pattern.startsWith('x-')).min(1).max(100);
export const tokenName = z
  .string()
  .regex(/^[A-Za-z0-9][\w.-]{0,99}$/, 'expected 1 to 100 letters, digits, ".", "_", "-"');

/** A token at rest. */
export const storedToken = z.strictObject({
  id: z.string(),
  name: tokenName,
  /** SHA-256 of the token, in hexadecimal. */
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  scopes: z.array(z.enum(scopes)).min(1),
  events: eventsBound.optional(),
  appends: appendsBound.optional(),
  createdAt: z.number(),
  expiresAt: z.number().optional(),
  revokedAt: z.number().optional(),
});
export type StoredToken = z.output<typeof storedToken>;

/** 256 random bits: nothing that could be guessed, whatever the hash costs. */
export function newToken(): { token: string; hash: string; id: string } {
  const token = `${tokenPrefix}${randomBytes(secretBytes).toString('base64url')}`;
  return { token, hash: hashOf(token), id: `tok-${randomBytes(6).toString('hex')}` };
}

export function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

export function stateOf({ revokedAt, expiresAt }: StoredToken, now: number): TokenInfo['state'] {
  if (revokedAt !== undefined) return 'revoked';
  return expiresAt !== undefined && expiresAt <= now ? 'expired' : 'active';
}

/** When it ceased to be valid; undefined for an active one. */
export function endOf(token: StoredToken, now: number): number | undefined {
  return stateOf(token, now) === 'active' ? undefined : (token.revokedAt ?? token.expiresAt);
}

export function infoOf({ hash: _kept, ...rest }: StoredToken, now: number): TokenInfo {
  const shown = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  return { ...(shown as Omit<StoredToken, 'hash'>), state: stateOf({ ...rest, hash: '' }, now) } as TokenInfo;
}

export function principalOf({ id, name, scopes: held, events, appends, expiresAt }: StoredToken): Principal {
  return {
    id,
    name,
    scopes: new Set(held),
    events: events as Principal['events'],
    appends: appends ?? ['x-*'],
    expiresAt,
  };
}
