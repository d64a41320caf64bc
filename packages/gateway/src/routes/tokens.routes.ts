import { type CreatedToken, scopes, type TokenInfo, type TokenRequest } from '@cloudos/client';
import { z } from 'zod';
import type { Access } from '../access/access.ts';
import { appendsBound, eventsBound, tokenName } from '../access/stored-token.ts';
import { type Route, route } from './route.ts';
import { describes, epochMs } from './shapes.ts';

const json = 'application/json';
const ttlMinMs = 1_000;
const ttlMaxMs = 10 * 365 * 24 * 3_600_000;

const tokenBody = z.strictObject({
  name: tokenName,
  scopes: z.array(z.enum(scopes)).min(1).max(scopes.length),
  events: eventsBound.optional(),
  appends: appendsBound.optional(),
  ttlMs: z.int().min(ttlMinMs).max(ttlMaxMs).nullable().optional(),
});

const info = {
  id: z.string(),
  name: z.string(),
  scopes: z.array(z.enum(scopes)),
  events: eventsBound.optional(),
  appends: z.array(z.string()).optional(),
  state: z.enum(['active', 'expired', 'revoked']),
  createdAt: epochMs,
  expiresAt: epochMs.optional(),
  revokedAt: epochMs.optional(),
};
const tokenInfo = describes<TokenInfo>()(z.object(info));
const createdToken = describes<CreatedToken>()(
  z.object({ ...info, token: z.string().meta({ description: 'Told this once; only its hash is kept.' }) }),
);

/** Makes, lists and ends tokens. */
export function tokenRoutes(access: Access): Route[] {
  return [
    route({
      id: 'createToken',
      method: 'POST',
      path: '/v1/tokens',
      summary: 'Makes a token.',
      scope: 'admin',
      body: tokenBody,
      answer: { status: 201, description: 'The token, this once.', content: { [json]: createdToken } },
      errors: ['TOKEN_EXISTS', 'TOKENS_EXCEEDED'],
      handle: async ({ body }) =>
        Response.json(await access.createToken(body as TokenRequest), {
          status: 201,
          headers: { 'cache-control': 'no-store' },
        }),
    }),
    route({
      id: 'listTokens',
      method: 'GET',
      path: '/v1/tokens',
      summary: 'The active tokens, and those that ended last.',
      scope: 'admin',
      answer: { description: 'Everything but the tokens themselves.', content: { [json]: z.array(tokenInfo) } },
      handle: () => Response.json(access.tokens()),
    }),
    route({
      id: 'revokeToken',
      method: 'DELETE',
      path: '/v1/tokens/{token}',
      summary: 'Ends a token at once, and every connection that it has open.',
      scope: 'admin',
      params: { token: 'Its id or its name.' },
      answer: { description: 'The token, which is revoked (or had ended before).', content: { [json]: tokenInfo } },
      errors: ['TOKEN_NOT_FOUND'],
      handle: async ({ param, principal, context }) => {
        const { outgoing } = context.env;
        // Whoever revokes its own token gets to know that before its connections end.
        const answered = () => new Promise<void>((resolve) => void outgoing.once('close', resolve));
        return Response.json(await access.revokeToken(param('token'), principal, answered));
      },
    }),
  ];
}
