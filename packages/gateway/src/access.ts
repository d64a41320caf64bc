import { CloudosError } from '@cloudos/sdk';
import { sameToken } from './token-file.ts';

export interface AccessRules {
  readonly token: string;
  readonly tokenFile: string;
  /** Origins of browser pages that may use the gateway, besides its own. */
  readonly allowedOrigins: readonly string[];
  /** `http://127.0.0.1:7070`, and the other names of the same address. */
  readonly ownOrigins: readonly string[];
}

export interface AccessRequest {
  readonly origin: string | undefined;
  readonly authorization: string | undefined;
  /** `?token=`, for browsers, which cannot set headers on a WebSocket. */
  readonly queryToken: string | undefined;
}

/**
 * Lets a request through that comes from no page or from an allowed one, and that has the token.
 * @throws CloudosError ORIGIN_FORBIDDEN, UNAUTHENTICATED
 */
export function assertAccess(rules: AccessRules, request: AccessRequest): void {
  if (request.origin !== undefined && !originAllowed(rules, request.origin)) {
    throw new CloudosError(
      'ORIGIN_FORBIDDEN',
      `a page of ${request.origin} sent the request; allowed: ${[...rules.ownOrigins, ...rules.allowedOrigins].join(', ')}`,
    );
  }
  const given = bearerOf(request.authorization) ?? request.queryToken;
  if (given !== undefined && sameToken(given, rules.token)) return;
  throw new CloudosError(
    'UNAUTHENTICATED',
    given === undefined ? 'the request has no token' : 'the token of the request is not the one of this kernel',
    { remedy: `Send the header "Authorization: Bearer <token>" with the token in ${rules.tokenFile}.` },
  );
}

export function originAllowed(rules: AccessRules, origin: string): boolean {
  return rules.ownOrigins.includes(origin) || rules.allowedOrigins.includes(origin);
}

function bearerOf(authorization: string | undefined): string | undefined {
  const match = /^Bearer +(\S+) *$/i.exec(authorization ?? '');
  return match?.[1];
}
